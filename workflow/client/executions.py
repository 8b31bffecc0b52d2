"""Executions of the state machine: list, describe, wait for, stop; the same on AWS and on the embedded stack."""

import time
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.errors import ExecutionMissingError, StillRunningError
from ratesflow.workflow.client.history import Step, answer_of, describe_failure, parse_json, steps_of
from ratesflow.workflow.client.job_logs import describe_exit, failed_job, last_lines, log_stream
from ratesflow.workflow.client.ledger_outcomes import ledger_outcome, names_with_outcome

TERMINAL = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
OPEN = "open"
"""The outcome of a batch whose execution ended before the ledger closed it; gc closes it."""
STOPPED = "by user, with ratesflow stop"
_ENDED_FROM_OUTSIDE = {"ABORTED": "The execution was stopped", "TIMED_OUT": "The execution ran out of time"}


@dataclass(frozen=True)
class Execution:
    """One execution. `answer` has the schema of a notification and is empty until there is one.

    With `from_ledger` the answer is the ledger's own, from after the end of the execution.
    """

    arn: str
    name: str
    status: str
    started: datetime
    stopped: datetime | None
    input: Mapping[str, Any]
    answer: Mapping[str, Any]
    error: str | None = None
    cause: str | None = None
    from_ledger: bool = False

    @property
    def outcome(self) -> str:
        """Return `running`, or the outcome of the batch by the ledger (`committed`, `rejected`, …, `open`).

        It belongs to the batch, not to the execution: a stopped execution may have committed before, and one whose
        notification could not be sent has FAILED. `open` means that the ledger has not closed the batch yet.
        """
        if self.status not in TERMINAL:
            return "running"
        return str(self.answer.get("outcome", OPEN))

    @property
    def seconds(self) -> float | None:
        """Return its duration, or None while it runs."""
        return (self.stopped - self.started).total_seconds() if self.stopped else None

    @property
    def message(self) -> str | None:
        """Return why it failed, or the message of its answer."""
        if ended := _ENDED_FROM_OUTSIDE.get(self.status):
            why = ": ".join(text.rstrip(".") for text in (self.error, self.cause) if text)
            return f"{ended}{': ' if why else ''}{why}. {self._outcome_sentence}"
        if self.error and not self.from_ledger:
            return self.cause or describe_failure(self.error, None)
        return self.answer.get("message")

    @property
    def _outcome_sentence(self) -> str:
        """Return the outcome, with the ledger's message unless that only repeats how the execution ended."""
        if self.outcome == OPEN:
            return "The ledger has not closed the batch; gc will."
        message = str(self.answer.get("message") or "")
        reason = "" if message.startswith("the execution ") else message
        state = "has failed" if self.outcome == "failed" else f"is {self.outcome}"
        return f"The batch {state}{': ' if reason else '.'}{reason}"


@dataclass(frozen=True)
class JobLog:
    """The job of a step: how it ended, where its log is, and the log's last lines."""

    job_id: str
    ended: str
    log_stream: str | None
    lines: tuple[str, ...]


def execution_arn(environment: Environment, name: str) -> str:
    """Return the ARN of an execution from its name; an ARN is returned unchanged."""
    if name.startswith("arn:"):
        return name
    # The ARN of a state machine may end in an alias or a version, which executions do not have.
    parts = environment.state_machine_arn.split(":")[:7]
    parts[5] = "execution"
    return ":".join([*parts, name])


def list_executions(environment: Environment, limit: int = 20) -> list[Execution]:
    """Return the latest executions, newest first."""
    client = environment.client("stepfunctions")
    pages = client.get_paginator("list_executions").paginate(
        stateMachineArn=_unqualified(environment.state_machine_arn), PaginationConfig={"MaxItems": limit}
    )
    arns = [found["executionArn"] for page in pages for found in page["executions"]]
    names = names_with_outcome(environment)
    found = [_describe(environment, arn, names) for arn in arns]
    return sorted(found, key=lambda execution: execution.started, reverse=True)


def get_execution(environment: Environment, name: str) -> Execution:
    """Return an execution by its name or ARN. Raises ExecutionMissingError."""
    return _describe(environment, name, None)


def _describe(environment: Environment, name: str, in_ledger: Container[str] | None) -> Execution:
    """Return an execution; the ledger's outcome is read if the name is in `in_ledger`, or that is None."""
    client = environment.client("stepfunctions")
    arn = execution_arn(environment, name)
    try:
        found = client.describe_execution(executionArn=arn)
    except (client.exceptions.ExecutionDoesNotExist, client.exceptions.InvalidArn) as error:
        raise _missing(environment, name) from error
    execution = Execution(
        arn=arn,
        name=found["name"],
        status=found["status"],
        started=found["startDate"],
        stopped=found.get("stopDate"),
        input=parse_json(found.get("input")) or {},
        answer=parse_json(found.get("output")) or {},
        error=found.get("error"),
        cause=found.get("cause"),
    )
    if execution.status not in TERMINAL:
        return execution
    if in_ledger is None or execution.name in in_ledger:
        answer = ledger_outcome(environment, execution.name)
        if answer is not None:
            return replace(execution, answer=answer, from_ledger=True)
    if execution.status != "SUCCEEDED":
        return replace(execution, answer=answer_of(get_steps(environment, arn), None))
    return execution


def get_steps(environment: Environment, name: str) -> list[Step]:
    """Return the steps of an execution so far. Raises ExecutionMissingError."""
    client = environment.client("stepfunctions")
    arn = execution_arn(environment, name)
    pages = client.get_paginator("get_execution_history").paginate(
        executionArn=arn, includeExecutionData=True, PaginationConfig={"PageSize": 1000}
    )
    try:
        return steps_of(event for page in pages for event in page["events"])
    except (client.exceptions.ExecutionDoesNotExist, client.exceptions.InvalidArn) as error:
        raise _missing(environment, name) from error


def job_log(environment: Environment, step: Step, lines: int = 10) -> JobLog | None:
    """Return the log of a step's job; None for a step without a job, or when the job has expired in Batch."""
    job = failed_job(environment, step.job_id) if step.job_id else None
    if job is None:
        return None
    stream = log_stream(job)
    tail = tuple(last_lines(environment, stream, lines)) if stream else ()
    return JobLog(str(job["jobId"]), describe_exit(job), stream, tail)


def wait_for_start(environment: Environment, name: str, seconds: float) -> Execution:
    """Return an execution as soon as it exists. Raises ExecutionMissingError after this many seconds."""
    for _ in _polls(environment, seconds):
        try:
            return get_execution(environment, name)
        except ExecutionMissingError:
            continue
    return get_execution(environment, name)


def wait_for_end(
    environment: Environment,
    name: str,
    progress: Callable[[list[Step]], None] | None = None,
    seconds: float | None = None,
) -> Execution:
    """Return an execution when it has ended; `progress` gets the steps after every poll.

    Raises StillRunningError when it still runs after this many seconds.
    """
    for _ in _polls(environment, seconds):
        execution = get_execution(environment, name)
        if progress:
            progress(get_steps(environment, name))
        if execution.status in TERMINAL:
            return execution
    raise StillRunningError(
        f"{name} still runs after {seconds:.0f} s, and continues. Watch it with: ratesflow show --follow {name}"
    )


def stop_execution(environment: Environment, name: str, cause: str = STOPPED) -> str:
    """Stop an execution and return its ARN. Its jobs are terminated; gc discards what they loaded."""
    execution = get_execution(environment, name)
    environment.client("stepfunctions").stop_execution(executionArn=execution.arn, cause=cause)
    return execution.arn


def _polls(environment: Environment, seconds: float | None) -> Iterator[int]:
    """Yield at once and then at intervals, shorter on the embedded stack, until the time is over."""
    pause = 0.2 if environment.is_local else 2.0
    deadline = None if seconds is None else time.monotonic() + seconds
    poll = 0
    while deadline is None or time.monotonic() < deadline or poll == 0:
        yield poll
        poll += 1
        time.sleep(pause)


def _missing(environment: Environment, name: str) -> ExecutionMissingError:
    return ExecutionMissingError(f"There is no execution {name!r} in {environment.place}. See `ratesflow executions`.")


def _unqualified(state_machine_arn: str) -> str:
    return ":".join(state_machine_arn.split(":")[:7])
