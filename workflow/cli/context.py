"""What every command shares: which stack it speaks to, and how it prints."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from ratesflow.workflow.client.environment import DEFAULT_HOME, Environment, find_environment
from ratesflow.workflow.timestamps import iso, moment

COMMITTED, FAILED, USAGE, REJECTED, DUPLICATE, TOO_LATE, NO_STACK, GOES_ON, INTERRUPTED = 0, 1, 2, 3, 4, 5, 69, 75, 130
"""The exit codes; a command's help says which of them it uses."""

PORT = click.IntRange(0, 65535)
"""The type of an option that names a port; 0 is any free one."""


@dataclass(frozen=True)
class CliContext:
    """The global options: the home of an embedded stack, or the name of an environment on AWS."""

    home: Path | None
    env: str | None

    def environment(self) -> Environment:
        """Return the addresses of the stack. Raises EnvironmentMissingError when there is none."""
        return find_environment(self.home, self.env)

    def home_folder(self) -> Path:
        """Return the folder of the embedded stack, for `up` and `down`, which know no other."""
        if self.env:
            raise click.UsageError(f"{self.env} is an environment on AWS: Terraform makes it and takes it away")
        return self.home or Path(os.environ.get("RATESFLOW_HOME") or DEFAULT_HOME)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    text = json.dumps(value, default=_plain, ensure_ascii=False)
    # JSON's own escapes stand for control signs below 32 alone.
    click.echo("".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Iterable[str] = ()) -> None:
    """Print rows under the names of their columns; those in `right` are numbers, set to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]
    to_the_right = [name in set(right) for name in columns]
    for number, line in enumerate([list(columns), *cells]):
        text = "  ".join(
            cell.rjust(width) if end else cell.ljust(width)
            for cell, width, end in zip(line, widths, to_the_right, strict=True)
        ).rstrip()
        echo(text, bold=number == 0)


def shown(text: str) -> str:
    """Return a text in signs that command no terminal: names of objects and logs may hold escapes."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in "\n\t" else repr(sign)[1:-1] for sign in text)


def echo(text: str = "", *, err: bool = False, bold: bool = False) -> None:
    """Print a text that may hold what others wrote."""
    click.echo(click.style(shown(text), bold=True) if bold else shown(text), err=err)


def say(text: str) -> None:
    """Tell a person something that is no part of the data: on standard error."""
    echo(text, err=True)


def on_terminal() -> bool:
    """Tell whether a person watches: only then is anything drawn over."""
    return sys.stderr.isatty()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:,}" if isinstance(value, int) else shown(str(value))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be printed as JSON")
