"""Executions of the state machine: list, look at, wait for, stop; the same on AWS and on the embedded stack."""

import time
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.history import Step, answer_of, failure_in_words, parsed, steps_of
from ratesflow.workflow.client.job_logs import describe_exit, failed_job, last_lines, log_stream
from ratesflow.workflow.client.ledger_outcomes import ledger_word, names_with_word

TERMINAL = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
OPEN = "open"
"""The outcome of a batch whose execution was ended before the ledger closed it: gc will."""
STOPPED = "by a person, with ratesflow stop"
_ENDED_FROM_OUTSIDE = {"ABORTED": "The execution was stopped", "TIMED_OUT": "The execution ran out of time"}


class StillRunningError(TimeoutError):
    """Something was not waited for any longer; it goes on. The text says how to look again."""


class ExecutionMissingError(Exception):
    """There is no such execution; the text says what was looked for, and where."""


@dataclass(frozen=True)
class Execution:
    """One execution. `answer` has the schema of a notification and is empty until there is one.

    `from_ledger` says that the answer is the ledger's own, asked after the execution had ended.
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

        It is the batch's, not the execution's: one that was stopped may have committed before, and one whose
        notification alone could not be sent has FAILED. `open` means that the ledger has not closed the batch yet.
        """
        if self.status not in TERMINAL:
            return "running"
        return str(self.answer.get("outcome", OPEN))

    @property
    def seconds(self) -> float | None:
        """Return how long it took, or None while it runs."""
        return (self.stopped - self.started).total_seconds() if self.stopped else None

    @property
    def words(self) -> str | None:
        """Return why it failed, or what its answer says, in words."""
        if ended := _ENDED_FROM_OUTSIDE.get(self.status):
            why = ": ".join(text.rstrip(".") for text in (self.error, self.cause) if text)
            return f"{ended}{': ' if why else ''}{why}. {self._told_of_batch}"
        if self.error and not self.from_ledger:
            return self.cause or failure_in_words(self.error, None)
        return self.answer.get("message")

    @property
    def _told_of_batch(self) -> str:
        """Return the outcome in words, with what the ledger says unless that is the end of the execution alone."""
        if self.outcome == OPEN:
            return "The ledger has not closed the batch: gc will."
        message = str(self.answer.get("message") or "")
        told = "" if message.startswith("the execution ") else message
        ended = "has failed" if self.outcome == "failed" else f"is {self.outcome}"
        return f"The batch {ended}{': ' if told else '.'}{told}"


@dataclass(frozen=True)
class JobLog:
    """The job of a step: how it ended, where its log is, and the log's last lines."""

    job_id: str
    ended: str
    log_stream: str | None
    lines: tuple[str, ...]


def execution_arn(environment: Environment, name: str) -> str:
    """Return the ARN of an execution from its name; an ARN is returned as it is."""
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
    words = names_with_word(environment)
    found = [_described(environment, arn, words) for arn in arns]
    return sorted(found, key=lambda execution: execution.started, reverse=True)


def get_execution(environment: Environment, name: str) -> Execution:
    """Return an execution by its name or ARN. Raises ExecutionMissingError."""
    return _described(environment, name, None)


def _described(environment: Environment, name: str, with_word: Container[str] | None) -> Execution:
    """Return an execution; the ledger's word is looked for if its name is in `with_word`, or that is None."""
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
        input=parsed(found.get("input")) or {},
        answer=parsed(found.get("output")) or {},
        error=found.get("error"),
        cause=found.get("cause"),
    )
    if execution.status not in TERMINAL:
        return execution
    word = ledger_word(environment, execution.name) if with_word is None or execution.name in with_word else None
    if word is not None:
        return replace(execution, answer=word, from_ledger=True)
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
    """Return the log of a step's job; None for a step without one, or when Batch has forgotten it."""
    job = failed_job(environment, step.job_id) if step.job_id else None
    if job is None:
        return None
    stream = log_stream(job)
    tail = tuple(last_lines(environment, stream, lines)) if stream else ()
    return JobLog(str(job["jobId"]), describe_exit(job), stream, tail)


def wait_for_start(environment: Environment, name: str, seconds: float) -> Execution:
    """Return an execution as soon as it exists. Raises ExecutionMissingError after so many seconds."""
    for _ in _ticks(environment, seconds):
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
    """Return an execution when it has ended, having told `progress` the steps after every look.

    Raises StillRunningError when it still runs after so many seconds; it then goes on running.
    """
    for _ in _ticks(environment, seconds):
        execution = get_execution(environment, name)
        if progress:
            progress(get_steps(environment, name))
        if execution.status in TERMINAL:
            return execution
    raise StillRunningError(
        f"{name} still runs after {seconds:.0f} s, and goes on. Watch it with: ratesflow show --follow {name}"
    )


def stop_execution(environment: Environment, name: str, cause: str = STOPPED) -> str:
    """Stop an execution and return its ARN. Its jobs are terminated; nothing is discarded yet (see gc)."""
    execution = get_execution(environment, name)
    environment.client("stepfunctions").stop_execution(executionArn=execution.arn, cause=cause)
    return execution.arn


def _ticks(environment: Environment, seconds: float | None) -> Iterator[int]:
    """Yield at once and then at every look, until the time is over: faster where calls cost nothing."""
    pause = 0.2 if environment.is_local else 2.0
    deadline = None if seconds is None else time.monotonic() + seconds
    tick = 0
    while deadline is None or time.monotonic() < deadline or tick == 0:
        yield tick
        tick += 1
        time.sleep(pause)


def _missing(environment: Environment, name: str) -> ExecutionMissingError:
    return ExecutionMissingError(f"There is no execution {name!r} in {environment.source}. See `ratesflow executions`.")


def _unqualified(state_machine_arn: str) -> str:
    return ":".join(state_machine_arn.split(":")[:7])
