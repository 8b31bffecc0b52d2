"""How commands print: data on standard output, as JSON, as a table or as text; notices on standard error."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from ratesflow.workflow.timestamps import iso, moment

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    text = json.dumps(value, default=_json_default, ensure_ascii=False)
    # JSON itself escapes only the control characters below 32.
    click.echo("".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Iterable[str] = ()) -> None:
    """Print rows under the names of their columns; the columns in `right` are aligned to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]
    align_right = [name in set(right) for name in columns]
    for number, line in enumerate([list(columns), *cells]):
        text = "  ".join(
            cell.rjust(width) if end else cell.ljust(width)
            for cell, width, end in zip(line, widths, align_right, strict=True)
        ).rstrip()
        echo(text, bold=number == 0)


def printable(text: str) -> str:
    """Return a text with its control characters escaped: names of objects and logs may hold terminal commands."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in "\n\t" else repr(sign)[1:-1] for sign in text)


def echo(text: str = "", *, err: bool = False, bold: bool = False) -> None:
    """Print a text that may hold foreign input."""
    click.echo(click.style(printable(text), bold=True) if bold else printable(text), err=err)


def notice(text: str) -> None:
    """Print a line that is not part of the data, on standard error."""
    echo(text, err=True)


def on_terminal() -> bool:
    """Return whether standard error is a terminal: only there are lines redrawn."""
    return sys.stderr.isatty()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:,}" if isinstance(value, int) else printable(str(value))


def _json_default(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be printed as JSON")
