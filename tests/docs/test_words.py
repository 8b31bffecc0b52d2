"""Words that the glossary replaces do not occur in the README, the user pages or the help of commands."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ratesflow.workflow.cli import main

ROOT = Path(__file__).parents[2]
GLOSSARY = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
# Words that are ordinary English elsewhere, such as "place": the glossary excludes them for one concept only.
AMBIGUOUS = {"fault", "place", "twin"}
# Wordings to avoid that are not in the glossary.
WORDINGS = ("anew", "so many", "came to nothing", "what became of", "whoever")


def replaced() -> list[str]:
    """Return the words of the glossary's last column."""
    cells = re.findall(r"^\| .+ \| .+ \| ([^|]+) \|$", GLOSSARY, re.M)
    return sorted({word.strip() for cell in cells for word in cell.split(",")} - {"not", "---", ""} - AMBIGUOUS)


def texts() -> Iterator[tuple[str, str]]:
    """Yield the user pages, and the help of each command and its options."""
    for name in ("README.md", "CONTRIBUTING.md", "docs/index.md", "docs/getting-started.md", "docs/commands.md"):
        yield name, (ROOT / name).read_text(encoding="utf-8")
    groups: list[tuple[str, click.Command]] = [("ratesflow", main)]
    while groups:
        name, command = groups.pop()
        options = [option.help or "" for option in command.params if isinstance(option, click.Option)]
        yield name, "\n".join([command.help or "", *options])
        if isinstance(command, click.Group):
            groups += [(f"{name} {each}", below) for each, below in command.commands.items()]


def test_glossary_has_replaced_words() -> None:
    """The parser finds the glossary's last column."""
    assert {"refused", "told", "open batches"} <= set(replaced())


@pytest.mark.parametrize(("name", "text"), [pytest.param(*each, id=each[0]) for each in texts()])
def test_replaced_words_do_not_occur(name: str, text: str) -> None:
    """The user pages and help texts contain no replaced word."""
    words = "|".join(re.escape(word) for word in (*replaced(), *WORDINGS))
    assert re.findall(rf"\b(?:{words})\b", text, re.I) == [], name
