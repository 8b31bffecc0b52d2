"""Every command is documented: in the README's table, and by its help; and what they show can be typed."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ratesflow.workflow.cli import main

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
README_LINES = [line.removeprefix("$ ") for line in README.splitlines() if line.startswith("$ ratesflow ")]


def commands(group: click.Group, above: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{above}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} ")


COMMANDS = dict(commands(main))


def examples(help_text: str) -> list[str]:
    part = help_text.split("Example:")[1].split("Exit codes:")[0]
    return [line.strip() for line in part.splitlines() if line.strip().startswith("ratesflow ")]


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """Types a line, its files made in a folder, where each command only notes that it was reached."""
    monkeypatch.chdir(tmp_path)
    reached: list[str] = []
    for name, command in COMMANDS.items():
        if not isinstance(command, click.Group):
            monkeypatch.setattr(command, "callback", lambda name=name, **_: reached.append(name))

    def run(line: str) -> str:
        words = [Path(word).name if word.startswith("/") else word for word in shlex.split(line, comments=True)[1:]]
        words = words[: words.index(">")] if ">" in words else words
        for word in words:
            if word.endswith(".csv") and "://" not in word:
                Path(word).touch()
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, f"{line}\n{done.output}"
        return reached[-1]

    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_in_the_readme(name):
    """The README's table of commands names every command."""
    rows = [line.split("|")[1] for line in README.splitlines() if line.startswith("| `")]
    assert re.search(rf"`{name}[ `]", " ".join(rows)), f"ratesflow {name} is missing in the README's table of commands"


def test_readme_names_no_command_that_is_not_there():
    """What the README's table names is a command."""
    (table,) = re.findall(r"\| command \| does \|\n\|[- |]+\n((?:\|.*\n)+)", README)
    named = re.findall(r"`([a-z]+)", " ".join(line.split("|")[1] for line in table.splitlines()))
    assert set(named) <= {name.split()[0] for name in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_help(name):
    """Every command's help has a sentence, an example of itself and its exit codes, and every option its words."""
    command = COMMANDS[name]
    text = command.help or ""
    assert len(text.split("\n")[0].strip()) > 20
    assert any(re.search(rf"\bratesflow (--env \w+ )?{name}\b", line) for line in text.splitlines())
    codes = text.split("Exit codes:")[1]
    assert isinstance(command, click.Group) or re.match(r"\s+0 \w+", codes)
    assert [option.name for option in command.params if isinstance(option, click.Option) and not option.help] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_can_be_typed(name, typed):
    """The example in a command's help is one of it, with options and arguments that it takes."""
    command = COMMANDS[name]
    reached = [typed(line) for line in examples(command.help or "")]
    assert name in reached or isinstance(command, click.Group) or f"$(ratesflow {name})" in (command.help or "")


def test_readme_can_be_typed(typed):
    """Every line of the README that calls ratesflow is taken by it."""
    assert len({typed(line) for line in README_LINES}) > 5


def test_readme_documents_completion():
    """The README tells how a shell learns to complete, by the name that click gives it."""
    assert "_RATESFLOW_COMPLETE=bash_source" in README
