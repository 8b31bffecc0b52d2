"""Follows files from their upload to their outcome, in parallel."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ratesflow.workflow.cli.progress import Progress, Row, step_line
from ratesflow.workflow.cli.uploader import Upload
from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.errors import ExecutionMissingError
from ratesflow.workflow.client.executions import TERMINAL, Execution, execution_arn, get_execution, get_steps
from ratesflow.workflow.client.history import StepSummary

START_SECONDS = 30.0
NOT_STARTED = (
    f"The file is uploaded, but its event has started no execution within {START_SECONDS:.0f} s. Start it with "
    "`ratesflow start {}`; then check the trigger: its log, its queue, and its dead-letter queue (`ratesflow redrive`)."
)
# Seconds between two polls: a fixed part, and a part for each file, since calls to AWS are counted.
LOCAL_PAUSE, AWS_PAUSE = (0.15, 0.02), (2.0, 0.2)
MIB = 2**20


def follow(
    environment: Environment, uploads: Sequence[Upload], progress: Progress, *, wait: bool, timeout: float | None
) -> Iterator[dict[str, Any]]:
    """Yield the result of each upload as it is printed, in the order of the uploads.

    Without `wait` the result is there when the file is uploaded; with a `timeout`, at most that many seconds later.
    Raises the error with which an upload has failed, and botocore's errors.
    """
    followed = [_Followed(environment, upload, progress, wait, timeout) for upload in uploads]
    fixed, each = LOCAL_PAUSE if environment.is_local else AWS_PAUSE
    yielded = 0
    while yielded < len(followed):
        unfinished = [one for one in followed if one.result is None]
        for one in unfinished:
            one.poll()
        while yielded < len(followed) and (result := followed[yielded].result) is not None:
            followed[yielded].row.remove()
            yield result
            yielded += 1
        if yielded < len(followed):
            # During an upload no call to AWS is made, so that the bytes can be polled often.
            time.sleep(fixed + each * len(unfinished) if any(one.upload.execution for one in unfinished) else 0.1)


class _Followed:
    """One file, its progress, and its result once it has one."""

    def __init__(
        self, environment: Environment, upload: Upload, progress: Progress, wait: bool, timeout: float | None
    ) -> None:
        self.upload = upload
        self.row: Row = progress.row(upload.title)
        self.result: dict[str, Any] | None = None
        self._environment, self._progress, self._wait, self._timeout = environment, progress, wait, timeout
        self._uploaded: float | None = None

    def poll(self) -> None:
        """Read how far the file is, and show it."""
        if self.upload.error is not None:
            raise self.upload.error
        if not self.upload.execution:
            self._show_upload()
            return
        if self._uploaded is None:
            self._uploaded = time.monotonic()
            self._print_upload()
            self.row.show("waiting", None, "for S3 event")
        if not self._wait:
            self.result = self._result("running", {})
            return
        self._poll_execution(time.monotonic() - self._uploaded)

    def _poll_execution(self, waited: float) -> None:
        name = self.upload.execution
        try:
            execution = get_execution(self._environment, name)
        except ExecutionMissingError:
            self.row.show("waiting", None, "for S3 event")
            if self._timeout is not None and waited > self._timeout:
                self.result = self._unfinished("has not started")
            elif waited > START_SECONDS:
                self.result = self._result("not started", {"message": NOT_STARTED.format(self.upload.address)})
            return
        self.row.steps(self._environment, get_steps(self._environment, name))
        if execution.status in TERMINAL:
            if self._progress.redraws:  # until those before it have ended too
                self.row.show(execution.outcome, 1.0)
            self.result = self._ended(execution)
        elif self._timeout is not None and waited > self._timeout:
            self.result = self._unfinished("still runs")

    def _unfinished(self, state: str) -> dict[str, Any]:
        """Return the result of a batch that has not ended within the timeout, which is not a failure."""
        name = self.upload.execution
        text = f"{name} {state} after {self._timeout:g} s, and continues."
        return self._result("running", {"message": f"{text} Watch it with: ratesflow show --follow {name}"})

    def _show_upload(self) -> None:
        if self.upload.began is not None:
            sent, size = self.upload.sent / MIB, self.upload.bytes / MIB
            self.row.show("upload", self.upload.fraction, f"{sent:,.1f} of {size:,.1f} MB")

    def _print_upload(self) -> None:
        text = f"{self.upload.label} → {self.upload.address}"
        if not self._progress.many:
            self._progress.print(text)
            size = f"{self.upload.bytes / MIB:,.1f} MB"
            self._progress.print(step_line(StepSummary("upload", "done", self.upload.seconds, 0, size, None)))
        elif not self._progress.redraws:
            self._progress.print(text)

    def _ended(self, execution: Execution) -> dict[str, Any]:
        result = self._result(execution.outcome, execution.answer)
        result["message"] = execution.message or ""
        if execution.stopped is not None and self.upload.began is not None:
            # The clock of AWS may differ from ours; it took at least the execution's own time.
            wall = (execution.stopped - self.upload.began).total_seconds()
            result["seconds"] = round(max(wall, execution.seconds or 0.0), 3)
        return result

    def _result(self, outcome: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "file": self.upload.label,
            "batch_id": self.upload.execution,
            "outcome": outcome,
            "rows": answer.get("rows"),
            "rejected_rows": answer.get("rejected_rows"),
            "report": answer.get("report"),
            "execution_arn": execution_arn(self._environment, self.upload.execution),
            "seconds": None,
            "steps": answer.get("seconds", {}),
            "message": answer.get("message", ""),
        }
