"""Follows files from their upload to their end, all of them side by side."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ratesflow.workflow.cli.progress import Progress, Row, line_text
from ratesflow.workflow.cli.uploader import Upload
from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.executions import (
    TERMINAL,
    Execution,
    ExecutionMissingError,
    execution_arn,
    get_execution,
    get_steps,
)
from ratesflow.workflow.client.history import StepSummary

START_SECONDS = 30.0
NOT_STARTED = (
    f"It is uploaded, but its event has started no execution in {START_SECONDS:.0f} s. Start it by hand with "
    "`ratesflow start {}`; then see what is wrong with the trigger: its log, its queue, and `ratesflow redrive` "
    "for what it put aside."
)
# Seconds between two looks: the first number by itself, the second for each file, since calls to AWS are counted.
LOCAL_PAUSE, AWS_PAUSE = (0.15, 0.02), (2.0, 0.2)
MIB = 2**20


def follow(
    environment: Environment, parcels: Sequence[Upload], progress: Progress, *, wait: bool, timeout: float | None
) -> Iterator[dict[str, Any]]:
    """Yield what is printed of each parcel when it has ended, in the order of the parcels.

    Without `wait` a parcel has ended when it is uploaded; with a `timeout`, after so many seconds from there.
    Raises what an upload has failed with, and botocore's errors.
    """
    followed = [_Followed(environment, parcel, progress, wait, timeout) for parcel in parcels]
    fixed, each = LOCAL_PAUSE if environment.is_local else AWS_PAUSE
    told = 0
    while told < len(followed):
        under_way = [one for one in followed if one.result is None]
        for one in under_way:
            one.look()
        while told < len(followed) and (result := followed[told].result) is not None:
            followed[told].row.remove()
            yield result
            told += 1
        if told < len(followed):
            # While something is uploaded nothing is asked of AWS, and the bytes may be looked at often.
            time.sleep(fixed + each * len(under_way) if any(one.parcel.execution for one in under_way) else 0.1)


class _Followed:
    """One file, where it is now, and its result once it has one."""

    def __init__(
        self, environment: Environment, parcel: Upload, progress: Progress, wait: bool, timeout: float | None
    ) -> None:
        self.parcel = parcel
        self.row: Row = progress.row(parcel.title)
        self.result: dict[str, Any] | None = None
        self._environment, self._progress, self._wait, self._timeout = environment, progress, wait, timeout
        self._uploaded: float | None = None

    def look(self) -> None:
        """See how far the file is, and show it."""
        if self.parcel.error is not None:
            raise self.parcel.error
        if not self.parcel.execution:
            self._show_upload()
            return
        if self._uploaded is None:
            self._uploaded = time.monotonic()
            self._tell_upload()
            self.row.show("waiting", None, "for the upload's event")
        if not self._wait:
            self.result = self._answer("running", {})
            return
        self._look_at_execution(time.monotonic() - self._uploaded)

    def _look_at_execution(self, waited: float) -> None:
        name = self.parcel.execution
        try:
            execution = get_execution(self._environment, name)
        except ExecutionMissingError:
            self.row.show("waiting", None, "for the upload's event")
            if self._timeout is not None and waited > self._timeout:
                self.result = self._goes_on("has not been started yet")
            elif waited > START_SECONDS:
                self.result = self._answer("not started", {"message": NOT_STARTED.format(self.parcel.address)})
            return
        self.row.steps(self._environment, get_steps(self._environment, name))
        if execution.status in TERMINAL:
            if self._progress.moves:  # until those before it have ended too
                self.row.show(execution.outcome, 1.0)
            self.result = self._end(execution)
        elif self._timeout is not None and waited > self._timeout:
            self.result = self._goes_on("still runs")

    def _goes_on(self, how: str) -> dict[str, Any]:
        """Return the answer of a batch that was not waited for any longer, which is no failure."""
        name = self.parcel.execution
        words = f"{name} {how} after {self._timeout:g} s, and goes on."
        return self._answer("running", {"message": f"{words} Look again with: ratesflow show --follow {name}"})

    def _show_upload(self) -> None:
        if self.parcel.began is not None:
            gone, size = self.parcel.gone / MIB, self.parcel.bytes / MIB
            self.row.show("upload", self.parcel.share, f"{gone:,.1f} of {size:,.1f} MB")

    def _tell_upload(self) -> None:
        told = f"{self.parcel.shown} → {self.parcel.address}"
        if not self._progress.many:
            self._progress.say(told)
            size = f"{self.parcel.bytes / MIB:,.1f} MB"
            self._progress.say(line_text(StepSummary("upload", "done", self.parcel.seconds, 0, size, None)))
        elif not self._progress.moves:
            self._progress.say(told)

    def _end(self, execution: Execution) -> dict[str, Any]:
        result = self._answer(execution.outcome, execution.answer)
        result["message"] = execution.words or ""
        if execution.stopped is not None and self.parcel.began is not None:
            # The clock of AWS may differ from ours; an execution's own time is the least that it can have taken.
            wall = (execution.stopped - self.parcel.began).total_seconds()
            result["seconds"] = round(max(wall, execution.seconds or 0.0), 3)
        return result

    def _answer(self, outcome: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "file": self.parcel.shown,
            "batch_id": self.parcel.execution,
            "outcome": outcome,
            "rows": answer.get("rows"),
            "rejected_rows": answer.get("rejected_rows"),
            "report": answer.get("report"),
            "execution_arn": execution_arn(self._environment, self.parcel.execution),
            "seconds": None,
            "steps": answer.get("seconds", {}),
            "message": answer.get("message", ""),
        }
