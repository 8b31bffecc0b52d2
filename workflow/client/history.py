"""The steps of an execution: pure functions of the events in its history."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ratesflow.workflow.client.job_logs import describe_exit
from ratesflow.workflow.job_definitions import TASKS

# The outcome of a batch, by the task and the outcome in a result document.
_OUTCOMES = {
    ("validate", "rejected"): "rejected",
    ("validate", "duplicate"): "duplicate",
    ("commit", "committed"): "committed",
    ("commit", "duplicate"): "duplicate",
    ("discard", "discarded"): "failed",
    **{("discard", outcome): outcome for outcome in ("committed", "rejected", "duplicate", "undone")},
}
FAILURES = ("TaskFailed", "TaskTimedOut", "TaskSubmitFailed", "TaskStartFailed")


@dataclass(frozen=True)
class Step:
    """One state that an execution entered. `status` is `running`, `done`, `failed` or `aborted`.

    `seconds` runs from entering to leaving, waits and retries included; it is None while the step runs.
    `result` is the document that a `Read…` step found.
    """

    name: str
    kind: str
    entered: datetime
    status: str = "running"
    seconds: float | None = None
    attempts: int = 0
    error: str | None = None
    cause: str | None = None
    job_id: str | None = None
    result: Mapping[str, Any] | None = None
    input: Mapping[str, Any] = field(default_factory=dict)

    @property
    def retries(self) -> int:
        """Return the number of retries by Step Functions; the attempts of a Batch job are not counted."""
        return max(0, self.attempts - 1)

    @property
    def failure(self) -> str | None:
        """Return why the step failed."""
        return describe_failure(self.error, self.cause) if self.error else None


def steps_of(events: Iterable[Mapping[str, Any]]) -> list[Step]:
    """Return the steps of an execution, in the order in which it entered them."""
    steps: list[Step] = []
    for event in events:
        kind: str = event["type"]
        if kind.endswith("StateEntered"):
            steps.append(_entered(event))
        elif steps and kind in ("ExecutionAborted", "ExecutionTimedOut", "ExecutionFailed"):
            steps[-1] = _ended(steps[-1], event, kind)
        elif steps:
            steps[-1] = _moved(steps[-1], event)
    return steps


def answer_of(steps: Iterable[Step], output: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the answer of a batch: the execution's output, or what its last `Fail` state was given.

    It has the schema `ratesflow.notification/1`. Of an execution that was ended before it had an answer, it is the
    result of the last task that decided the outcome; it is empty when there is none.
    """
    if output is not None:
        return output
    listed = list(steps)
    last = [step.input for step in listed if step.kind == "Fail"]
    return last[-1] if last else next((found for step in reversed(listed) if (found := _deciding_result(step))), {})


def _deciding_result(step: Step) -> Mapping[str, Any] | None:
    document = step.result or {}
    outcome = _OUTCOMES.get((str(document.get("task")), str(document.get("outcome"))))
    return None if outcome is None else {**document, "outcome": outcome, "seconds": {}}


def describe_failure(error: str | None, cause: str | None) -> str:
    """Return a failure as a sentence; the cause of a failed Batch job is a JSON text with its description."""
    if error == "States.Timeout":
        return "It exceeded its time limit, which includes the wait in the job queue (States.Timeout)."
    job = parse_json(cause)
    if isinstance(job, dict) and "StatusReason" in job:
        return f"The job {job.get('JobName', '')} failed: {describe_exit(job)}."
    return f"{error}: {cause}" if cause else str(error)


def format_seconds(seconds: float | None) -> str:
    """Return a duration such as `0.42 s` or `3 min 12 s`; an empty text for None."""
    if seconds is None:
        return ""
    return f"{seconds:.2f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def parse_json(text: str | None) -> Any:
    """Return the value of a JSON text, or None when there is no text or it was truncated."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None


def _entered(event: Mapping[str, Any]) -> Step:
    details = event["stateEnteredEventDetails"]
    given = parse_json(details.get("input"))
    return Step(
        name=details["name"],
        kind=event["type"].removesuffix("StateEntered"),
        entered=event["timestamp"],
        input=given if isinstance(given, dict) else {},
    )


def _moved(step: Step, event: Mapping[str, Any]) -> Step:
    kind = event["type"]
    if kind == "TaskScheduled":
        return replace(step, attempts=step.attempts + 1, error=None, cause=None)
    if kind == "TaskSubmitted":
        submitted = parse_json(event["taskSubmittedEventDetails"].get("output"))
        return replace(step, job_id=submitted.get("JobId")) if isinstance(submitted, dict) else step
    if kind in FAILURES:
        details = event[f"{kind[0].lower()}{kind[1:]}EventDetails"]
        return replace(step, error=details.get("error", kind), cause=details.get("cause"))
    if kind == "TaskSucceeded":
        return replace(step, result=_document(event["taskSucceededEventDetails"].get("output")))
    if kind.endswith("StateExited"):
        seconds = (event["timestamp"] - step.entered).total_seconds()
        return replace(step, seconds=seconds, status="failed" if step.error else "done")
    return step


def _document(output: str | None) -> Mapping[str, Any] | None:
    """Return the result document in the output of a `getObject`; None for any other output."""
    read = parse_json(output)
    document = parse_json(read.get("Body")) if isinstance(read, dict) and isinstance(read.get("Body"), str) else None
    return document if isinstance(document, dict) and "outcome" in document else None


def _ended(step: Step, event: Mapping[str, Any], kind: str) -> Step:
    seconds = (event["timestamp"] - step.entered).total_seconds()
    if kind == "ExecutionFailed":
        details = event.get("executionFailedEventDetails", {})
        return replace(step, status="failed", seconds=seconds, error=details.get("error"), cause=details.get("cause"))
    return replace(step, status="aborted", seconds=seconds, error=kind.removeprefix("Execution"))


@dataclass(frozen=True)
class StepSummary:
    """A task with its result, or a notification, as it is shown to a person."""

    name: str
    status: str
    seconds: float | None
    retries: int
    text: str
    job_id: str | None


def summarize(steps: Sequence[Step]) -> list[StepSummary]:
    """Return the tasks and notifications among the steps, without the states that only read, choose or prepare.

    A task is `running` until its result document has been read.
    """
    summaries = []
    for place, step in enumerate(steps):
        if step.kind != "Task" or step.name.startswith("Read") or step.name == "RecordError":
            continue
        state = step.name.removesuffix("Shards")
        read = next((later for later in steps[place + 1 :] if later.name == f"Read{state}Result"), None)
        status, text = step.status, step.failure or ""
        if status == "done" and state.lower() in TASKS and (read is None or read.status == "running"):
            status = "running"
        elif status == "done" and read is not None and read.result is not None:
            text = _describe_result(read.result)
        elif status == "done" and step.name.startswith("Notify"):
            text = "sent"
        name = "notify" if step.name.startswith("Notify") else state.lower()
        summaries.append(StepSummary(name, status, step.seconds, step.retries, text, step.job_id))
    return summaries


def _describe_result(document: Mapping[str, Any]) -> str:
    parts = [str(document["outcome"])]
    if document.get("rows") is not None:
        parts.append(f"{document['rows']:,} rows")
    if document.get("rejected_rows"):
        parts.append(f"{document['rejected_rows']:,} rejected")
    return ", ".join(parts)
