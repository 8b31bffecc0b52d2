"""Shows an execution while it runs: a line for each step that has ended and, on a terminal, the one that runs."""

from types import TracebackType
from typing import Any

import click

from workflow.cli.context import on_terminal, seconds_text
from workflow.history import Step, StoryLine, story_of


class Progress:
    """Prints to standard error. On a terminal a last line moves; elsewhere there are whole lines only."""

    def __init__(self) -> None:
        self._told = 0
        self._status: Any = None

    def __enter__(self) -> "Progress":
        if on_terminal():
            from rich.console import Console

            self._status = Console(stderr=True, highlight=False, markup=False).status("")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def begin(self, title: str) -> None:
        """Begin with another file."""
        self._told = 0
        if self._status is not None:
            self._status.start()
        self.say(title)

    def rest(self) -> None:
        """Clear the moving line until something begins again, so that others may print."""
        if self._status is not None:
            self._status.stop()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        if self._status is not None:
            self._status.console.print(text, soft_wrap=True)
        else:
            click.echo(text, err=True)

    def now(self, text: str) -> None:
        """Say what is going on at this moment, where that can be drawn over."""
        if self._status is not None:
            self._status.update(text)

    def steps(self, steps: list[Step]) -> None:
        """Tell the steps that have ended since the last call."""
        story = story_of(steps)
        for line in story[self._told :]:
            if line.status == "running":
                self.now(f"{line.name} …" + (f" (retry {line.retries})" if line.retries else ""))
                return
            self.say(line_text(line))
            self._told += 1


def line_text(line: StoryLine) -> str:
    """Return a step as one line: its name, its time, what it said."""
    retries = f" ({line.retries} retries)" if line.retries else ""
    text = f"  {line.name:<10} {seconds_text(line.seconds):>10}  "
    return text + (f"FAILED: {line.text}" if line.status == "failed" else line.text or line.status) + retries
