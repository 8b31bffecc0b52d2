"""The rows that are redrawn on a terminal, by Rich."""

from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.text import Text

PER_SECOND = 8
WIDTH = 24


class _Bar(ProgressColumn):
    """A bar as long as the fraction that is done; it pulses while the fraction is unknown."""

    max_refresh = None

    def render(self, task: Task) -> ProgressBar:
        """Return the bar."""
        fraction = task.fields["fraction"]
        now = task.get_time()
        return ProgressBar(1.0, fraction or 0.0, width=WIDTH, pulse=fraction is None, animation_time=now)


class _Percent(ProgressColumn):
    """The fraction that is done; blank while it is unknown."""

    def render(self, task: Task) -> Text:
        """Return whole percent; 100 only when everything is done."""
        fraction = task.fields["fraction"]
        return Text("     " if fraction is None else f"{int(fraction * 100):>3} %", "progress.percentage")


class _Seconds(ProgressColumn):
    """How long the step has run."""

    def render(self, task: Task) -> Text:
        """Return the time since the step was first shown."""
        return Text(f"{task.elapsed or 0:.0f} s", "progress.elapsed")


def bars(many: bool) -> Any:
    """Return rows for one file or for many, not yet started; they disappear when they are stopped."""
    columns: list[ProgressColumn] = [TextColumn("  {task.description:<10}", markup=False)]
    if many:
        columns.insert(0, TextColumn("{task.fields[title]}", markup=False))
    columns += [_Bar(), _Percent(), TextColumn("{task.fields[figures]}", markup=False), _Seconds()]
    console = Console(stderr=True, highlight=False, markup=False)
    return Progress(*columns, console=console, transient=True, refresh_per_second=PER_SECOND)
