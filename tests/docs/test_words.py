"""One concept has one word: what the glossary replaces does not occur in the documents or in the help of commands."""

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
    """Return each document but the glossary itself, and the help of each command with that of its options."""
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]):
        if path.name != "glossary.md":
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
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
    """No document and no help contains a word that the glossary replaces."""
    words = "|".join(re.escape(word) for word in (*replaced(), *WORDINGS))
    assert re.findall(rf"\b(?:{words})\b", text, re.I) == [], name
