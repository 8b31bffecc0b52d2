"""An execution's history as the steps that it took: pure functions of the events that Step Functions keeps."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ratesflow.workflow.job_definitions import TASKS

# The last words of a task that settle a batch, by task and outcome in its result document.
_SETTLED = {
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
        """Return how often Step Functions tried again; Batch's own attempts are the job's."""
        return max(0, self.attempts - 1)

    @property
    def words(self) -> str | None:
        """Return why the step failed, in words."""
        return failure_in_words(self.error, self.cause) if self.error else None


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

    It has the schema `ratesflow.notification/1`. Of an execution that was ended before it had an answer, it is what
    the last task said that settled the batch; it is empty when none had.
    """
    if output is not None:
        return output
    known = list(steps)
    last = [step.input for step in known if step.kind == "Fail"]
    return last[-1] if last else next((found for step in reversed(known) if (found := _settling(step))), {})


def _settling(step: Step) -> Mapping[str, Any] | None:
    document = step.result or {}
    outcome = _SETTLED.get((str(document.get("task")), str(document.get("outcome"))))
    return None if outcome is None else {**document, "outcome": outcome, "seconds": {}}


def failure_in_words(error: str | None, cause: str | None) -> str:
    """Return a failure as a person would tell it; the cause of a Batch job is a JSON text with its description."""
    if error == "States.Timeout":
        return "It took longer than it may, its wait in the job queue included (States.Timeout)."
    try:
        job = json.loads(cause or "")
    except ValueError:
        return f"{error}: {cause}" if cause else str(error)
    if not isinstance(job, dict) or "StatusReason" not in job:
        return f"{error}: {cause}"
    container = job.get("Container") or {}
    told = [str(job["StatusReason"])]
    if container.get("Reason"):
        told.append(str(container["Reason"]))
    if container.get("ExitCode") is not None:
        told.append(f"exit code {container['ExitCode']}")
    attempts = len(job.get("Attempts") or [])
    if attempts > 1:
        told.append(f"after {attempts} attempts")
    return f"The job {job.get('JobName', '')} failed: {', '.join(told)}."


def seconds_in_words(seconds: float | None) -> str:
    """Return a duration such as `0.42 s` or `3 min 12 s`; nothing for None."""
    if seconds is None:
        return ""
    return f"{seconds:.2f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def parsed(text: str | None) -> Any:
    """Return a JSON text parsed, or None when there is none or it was cut short."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None


def _entered(event: Mapping[str, Any]) -> Step:
    details = event["stateEnteredEventDetails"]
    given = parsed(details.get("input"))
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
        submitted = parsed(event["taskSubmittedEventDetails"].get("output"))
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
    """Return the result document in the output of a `getObject`, if that is what it is."""
    read = parsed(output)
    document = parsed(read.get("Body")) if isinstance(read, dict) and isinstance(read.get("Body"), str) else None
    return document if isinstance(document, dict) and "outcome" in document else None


def _ended(step: Step, event: Mapping[str, Any], kind: str) -> Step:
    seconds = (event["timestamp"] - step.entered).total_seconds()
    if kind == "ExecutionFailed":
        details = event.get("executionFailedEventDetails", {})
        return replace(step, status="failed", seconds=seconds, error=details.get("error"), cause=details.get("cause"))
    return replace(step, status="aborted", seconds=seconds, error=kind.removeprefix("Execution"))


@dataclass(frozen=True)
class StepSummary:
    """One thing that happened to a batch, as it is told: a task with what it said, or a notification."""

    name: str
    status: str
    seconds: float | None
    retries: int
    text: str
    job_id: str | None


def summarize(steps: list[Step]) -> list[StepSummary]:
    """Return what happened, without the states that only read, choose or prepare.

    A task is told together with its result document, and hence `running` until that has been read.
    """
    lines = []
    for place, step in enumerate(steps):
        if step.kind != "Task" or step.name.startswith("Read") or step.name == "RecordError":
            continue
        state = step.name.removesuffix("Shards")
        read = next((later for later in steps[place + 1 :] if later.name == f"Read{state}Result"), None)
        status, text = step.status, step.words or ""
        if status == "done" and state.lower() in TASKS and (read is None or read.status == "running"):
            status = "running"
        elif status == "done" and read is not None and read.result is not None:
            text = _document_in_words(read.result)
        elif status == "done" and step.name.startswith("Notify"):
            text = "sent"
        name = "notify" if step.name.startswith("Notify") else state.lower()
        lines.append(StepSummary(name, status, step.seconds, step.retries, text, step.job_id))
    return lines


def _document_in_words(document: Mapping[str, Any]) -> str:
    told = [str(document["outcome"])]
    if document.get("rows") is not None:
        told.append(f"{document['rows']:,} rows")
    if document.get("rejected_rows"):
        told.append(f"{document['rejected_rows']:,} refused")
    return ", ".join(told)
