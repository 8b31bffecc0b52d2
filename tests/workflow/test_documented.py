"""Every command is documented: in the README's table, and by its help."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from workflow.cli import main

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def commands(group: click.Group, above: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{above}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} ")


COMMANDS = dict(commands(main))


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_in_the_readme(name):
    """The README's table of commands names every command."""
    rows = [line.split("|")[1] for line in README.splitlines() if line.startswith("| `")]
    assert re.search(rf"`{name}[ `]", " ".join(rows)), f"ratesflow {name} is missing in the README's table of commands"


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_help(name):
    """Every command's help has a sentence, an example and its exit codes, and every option its words."""
    command = COMMANDS[name]
    text = command.help or ""
    assert text.split("\n")[0].strip()
    assert f"ratesflow {name.split()[0]}" in text or f" {name.split()[0]}" in text.split("Example:")[1]
    assert "Exit codes:" in text
    assert [option.name for option in command.params if isinstance(option, click.Option) and not option.help] == []
