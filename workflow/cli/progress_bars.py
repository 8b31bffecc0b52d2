"""The rows that move on a terminal, drawn by Rich."""

from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.text import Text

PER_SECOND = 8
WIDTH = 24


class _Bar(ProgressColumn):
    """A bar as long as the share that is done; one that pulses while nobody knows it."""

    max_refresh = None

    def render(self, task: Task) -> ProgressBar:
        """Return the bar."""
        share = task.fields["share"]
        now = task.get_time()
        return ProgressBar(1.0, share or 0.0, width=WIDTH, pulse=share is None, animation_time=now)


class _Percent(ProgressColumn):
    """How much is done, as far as that is known."""

    def render(self, task: Task) -> Text:
        """Return it in whole percent; 100 only when all of it is done."""
        share = task.fields["share"]
        return Text("     " if share is None else f"{int(share * 100):>3} %", "progress.percentage")


class _Seconds(ProgressColumn):
    """How long the step has run."""

    def render(self, task: Task) -> Text:
        """Return the time since the step began to be shown."""
        return Text(f"{task.elapsed or 0:.0f} s", "progress.elapsed")


def bars(many: bool) -> Any:
    """Return rows for one file or for many, not yet started; they go when they are stopped."""
    columns: list[ProgressColumn] = [TextColumn("  {task.description:<10}", markup=False)]
    if many:
        columns.insert(0, TextColumn("{task.fields[title]}", markup=False))
    columns += [_Bar(), _Percent(), TextColumn("{task.fields[figures]}", markup=False), _Seconds()]
    console = Console(stderr=True, highlight=False, markup=False)
    return Progress(*columns, console=console, transient=True, refresh_per_second=PER_SECOND)
