"""Shows what is under way: rows that move on a terminal, and elsewhere a line for each thing that has ended."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from ratesflow.workflow.cli.context import on_terminal, say, shown
from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.history import Step, StepSummary, seconds_in_words, summarize
from ratesflow.workflow.client.job_progress import JobPoller, Underway

LINE_SECONDS = 10.0
"""How often a plain line says how far a step is that takes long."""


class Progress:
    """Prints to standard error. On a terminal each row moves in its place; elsewhere there are whole lines only.

    With `many` each line begins with the title of its row, and a terminal shows rows alone.
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
    def moves(self) -> bool:
        """Tell whether what is shown can be drawn over."""
        return self._live is not None

    def row(self, title: str = "") -> "Row":
        """Return a new row."""
        return Row(self, self._live, title)

    def say(self, text: str) -> None:
        """Print a line that stays."""
        if self._live is not None:
            self._live.console.print(shown(text), soft_wrap=True)
        else:
            say(text)

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Take the moving rows away for as long as others print."""
        if self._live is not None:
            self._live.stop()
        try:
            yield
        finally:
            if self._live is not None:
                self._live.start()


class Row:
    """One thing that is under way."""

    def __init__(self, progress: Progress, live: Any, title: str) -> None:
        self.title = title
        self._progress, self._live = progress, live
        self._task: Any = None
        self._doing: str | None = None
        self._told = 0
        self._failures: set[str] = set()
        self._watch: tuple[str, JobPoller] | None = None
        self._line_due = time.monotonic() + LINE_SECONDS

    def show(self, doing: str, share: float | None = None, figures: str = "") -> None:
        """Show what is going on at this moment: how much of it is done, if that is known, and some figures."""
        if self._live is None:
            self._show_line(doing, share, figures)
            return
        if self._task is None:
            self._task = self._live.add_task(doing, title=self.title, share=share, figures=figures)
        elif doing != self._doing:
            self._live.reset(self._task, description=doing, title=self.title, share=share, figures=figures)
        else:
            self._live.update(self._task, share=share, figures=figures)
        self._doing = doing

    def remove(self) -> None:
        """Take the row away."""
        if self._task is not None:
            self._live.remove_task(self._task)
            self._task = None

    def say(self, text: str) -> None:
        """Print a line about this row that stays."""
        self._progress.say(f"{self.title}: {text.strip()}" if self._progress.many else text)

    def steps(self, environment: Environment, steps: list[Step]) -> None:
        """Tell the steps that have ended since the last call, their retries, and how far the one is that runs."""
        story = summarize(steps)
        for line in story[self._told :]:
            job = self._look(environment, line)
            self._tell_retries(line, job)
            if line.status == "running":
                share, figures = _figures(line, job, _validated(steps))
                self.show(line.name, share, figures)
                return
            if not (self._progress.moves and self._progress.many and line.status == "done"):
                self.say(line_text(line))
            self._told += 1

    def _look(self, environment: Environment, line: StepSummary) -> Underway | None:
        """Look at the job of a step; where nothing moves, only now and then, and when the step has ended."""
        if line.job_id is None or not (
            self._progress.moves or line.status != "running" or time.monotonic() > self._line_due
        ):
            return None
        if self._watch is None or self._watch[0] != line.job_id:
            self._watch = line.job_id, JobPoller(environment, line.job_id)
        return self._watch[1].look()

    def _tell_retries(self, line: StepSummary, job: Underway | None) -> None:
        told = [f"try {number + 1} begins" for number in range(1, line.retries + 1)]
        for text in [*told, *(job.failed if job else ())]:
            if (key := f"{line.job_id or line.name} {text}") not in self._failures:
                self._failures.add(key)
                self.say(f"  {line.name}: {text}")

    def _show_line(self, doing: str, share: float | None, figures: str) -> None:
        now = time.monotonic()
        if now > self._line_due:
            self._line_due = now + LINE_SECONDS
            told = (f"{share:.0%}" if share is not None else "", figures)
            self.say(f"  {doing:<10} {'…':>10}  {', '.join(part for part in told if part)}".rstrip())


def line_text(line: StepSummary) -> str:
    """Return a step as one line: its name, its time, what it said."""
    retries = f" ({line.retries} retries)" if line.retries else ""
    text = f"  {line.name:<10} {seconds_in_words(line.seconds):>10}  "
    return text + (f"FAILED: {line.text}" if line.status == "failed" else line.text or line.status) + retries


def _figures(line: StepSummary, job: Underway | None, validated: int | None) -> tuple[float | None, str]:
    if job is None:
        return None, ""
    if job.rows is None:
        return job.share, job.waits
    rows = f"{job.rows:,} rows"
    if line.name == "load" and validated is not None:
        return job.share, f"{job.rows:,} of {validated:,} rows"
    return job.share, rows


def _validated(steps: list[Step]) -> int | None:
    """Return how many rows were validated, once that is known."""
    found = [step.result for step in steps if step.result is not None and step.result.get("task") == "validate"]
    rows = found[-1].get("rows") if found else None
    return rows if isinstance(rows, int) else None
