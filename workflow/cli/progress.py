"""Shows progress: rows that are redrawn on a terminal, and elsewhere a line for each step that has ended."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from ratesflow.workflow.cli.output import notice, on_terminal, printable
from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.history import Step, StepSummary, format_seconds, summarize
from ratesflow.workflow.client.job_progress import JobPoller, JobProgress

LINE_SECONDS = 10.0
"""Seconds between two lines about a step that takes long, where nothing is redrawn."""


class Progress:
    """Prints to standard error. On a terminal each row is redrawn in place; elsewhere only whole lines are printed.

    With `many` each line starts with the title of its row, and a terminal shows rows alone.
    """

    def __init__(self, many: bool = False) -> None:
        self.many = many
        self._live: Any = None

    def __enter__(self) -> "Progress":
        if on_terminal():
            from ratesflow.workflow.cli.progress_bars import bars

            self._live = bars(self.many)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def redraws(self) -> bool:
        """Return whether rows are redrawn in place."""
        return self._live is not None

    def row(self, title: str = "") -> "Row":
        """Return a new row."""
        return Row(self, self._live, title)

    def print(self, text: str) -> None:
        """Print a line that stays."""
        if self._live is not None:
            self._live.console.print(printable(text), soft_wrap=True)
        else:
            notice(text)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hide the rows while something else is printed."""
        if self._live is not None:
            self._live.stop()
        try:
            yield
        finally:
            if self._live is not None:
                self._live.start()


class Row:
    """The progress of one file or task."""

    def __init__(self, progress: Progress, live: Any, title: str) -> None:
        self.title = title
        self._progress, self._live = progress, live
        self._task: Any = None
        self._doing: str | None = None
        self._printed_steps = 0
        self._printed_retries: set[str] = set()
        self._poller: tuple[str, JobPoller] | None = None
        self._line_due = time.monotonic() + LINE_SECONDS

    def show(self, doing: str, fraction: float | None = None, figures: str = "") -> None:
        """Show the current step: how much of it is done, if that is available, and some figures."""
        if self._live is None:
            self._show_line(doing, fraction, figures)
            return
        if self._task is None:
            self._task = self._live.add_task(doing, title=self.title, fraction=fraction, figures=figures)
        elif doing != self._doing:
            self._live.reset(self._task, description=doing, title=self.title, fraction=fraction, figures=figures)
        else:
            self._live.update(self._task, fraction=fraction, figures=figures)
        self._doing = doing

    def remove(self) -> None:
        """Remove the row."""
        if self._task is not None:
            self._live.remove_task(self._task)
            self._task = None

    def print(self, text: str) -> None:
        """Print a line about this row that stays."""
        self._progress.print(f"{self.title}: {text.strip()}" if self._progress.many else text)

    def steps(self, environment: Environment, steps: Sequence[Step]) -> None:
        """Print the steps that have ended since the last call and their retries; show how far the current one is."""
        for summary in summarize(steps)[self._printed_steps :]:
            job = self._poll(environment, summary)
            self._print_retries(summary, job)
            if summary.status == "running":
                fraction, figures = _figures(summary, job, _validated_rows(steps))
                self.show(summary.name, fraction, figures)
                return
            if not (self._progress.redraws and self._progress.many and summary.status == "done"):
                self.print(step_line(summary))
            self._printed_steps += 1

    def _poll(self, environment: Environment, summary: StepSummary) -> JobProgress | None:
        """Return the progress of a step's job; where nothing is redrawn, only now and then and after the step."""
        if summary.job_id is None or not (
            self._progress.redraws or summary.status != "running" or time.monotonic() > self._line_due
        ):
            return None
        if self._poller is None or self._poller[0] != summary.job_id:
            self._poller = summary.job_id, JobPoller(environment, summary.job_id)
        return self._poller[1].poll()

    def _print_retries(self, summary: StepSummary, job: JobProgress | None) -> None:
        retries = [f"attempt {number + 1} started" for number in range(1, summary.retries + 1)]
        for text in [*retries, *(job.failed if job else ())]:
            if (key := f"{summary.job_id or summary.name} {text}") not in self._printed_retries:
                self._printed_retries.add(key)
                self.print(f"  {summary.name}: {text}")

    def _show_line(self, doing: str, fraction: float | None, figures: str) -> None:
        now = time.monotonic()
        if now > self._line_due:
            self._line_due = now + LINE_SECONDS
            parts = (f"{fraction:.0%}" if fraction is not None else "", figures)
            self.print(f"  {doing:<10} {'…':>10}  {', '.join(part for part in parts if part)}".rstrip())


def step_line(summary: StepSummary) -> str:
    """Return a step as one line: its name, its time, its result."""
    retries = f" ({summary.retries} retries)" if summary.retries else ""
    text = f"  {summary.name:<10} {format_seconds(summary.seconds):>10}  "
    result = f"FAILED: {summary.text}" if summary.status == "failed" else summary.text or summary.status
    return text + result + retries


def _figures(summary: StepSummary, job: JobProgress | None, validated_rows: int | None) -> tuple[float | None, str]:
    if job is None:
        return None, ""
    if job.rows is None:
        return job.fraction, job.waits
    rows = f"{job.rows:,} rows"
    if summary.name == "load" and validated_rows is not None:
        return job.fraction, f"{job.rows:,} of {validated_rows:,} rows"
    return job.fraction, rows


def _validated_rows(steps: Sequence[Step]) -> int | None:
    """Return the number of validated rows, or None before that is available."""
    found = [step.result for step in steps if step.result is not None and step.result.get("task") == "validate"]
    rows = found[-1].get("rows") if found else None
    return rows if isinstance(rows, int) else None
