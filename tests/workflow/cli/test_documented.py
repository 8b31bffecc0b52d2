"""Every command is documented, in docs/commands.md and in its help, and every example is valid."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ratesflow.workflow.cli import main

ROOT = next(folder for folder in Path(__file__).parents if (folder / "setup.cfg").is_file())
COMMANDS_PAGE = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
TYPED = [
    pytest.param(page, line.removeprefix("$ "), id=f"{page}: {line.removeprefix('$ ')}")
    for page in ("README.md", "CONTRIBUTING.md", "docs/getting-started.md", "docs/commands.md")
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines()
    if line.startswith("$ ratesflow ")
]


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
    """Runs a command line in a folder with its files; each command only records that it was called."""
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
def test_command_is_in_the_table(name):
    """The table of commands names every command."""
    rows = [line.split("|")[1] for line in COMMANDS_PAGE.splitlines() if line.startswith("| `")]
    assert re.search(rf"`{name}[ `]", " ".join(rows)), f"ratesflow {name} is missing in docs/commands.md"


def test_the_table_names_only_commands():
    """The table of commands names no command that does not exist."""
    (table,) = re.findall(r"\| command \| does \|\n\|[- |]+\n((?:\|.*\n)+)", COMMANDS_PAGE)
    named = re.findall(r"`([a-z]+)", " ".join(line.split("|")[1] for line in table.splitlines()))
    assert set(named) <= {name.split()[0] for name in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_help(name):
    """The help of every command has a summary, an example and exit codes, and every option has a help text."""
    command = COMMANDS[name]
    text = command.help or ""
    assert len(text.split("\n")[0].strip()) > 20
    assert any(re.search(rf"\bratesflow (--env \w+ )?{name}\b", line) for line in text.splitlines())
    codes = text.split("Exit codes:")[1]
    assert isinstance(command, click.Group) or re.match(r"\s+0 \w+", codes)
    assert [option.name for option in command.params if isinstance(option, click.Option) and not option.help] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_valid(name, typed):
    """The example in the help of a command calls it, with valid options and arguments."""
    command = COMMANDS[name]
    reached = [typed(line) for line in examples(command.help or "")]
    assert name in reached or isinstance(command, click.Group) or f"$(ratesflow {name})" in (command.help or "")


def test_pages_show_commands():
    """The README and the pages for users show more than five different commands."""
    assert len({shlex.split(line)[1] for _, line in (each.values for each in TYPED)}) > 5


@pytest.mark.parametrize(("page", "line"), TYPED)
def test_command_lines_in_pages_are_valid(page, line, typed):
    """Every line of a page that calls ratesflow is a command with valid options and arguments."""
    assert typed(line) in COMMANDS


def test_completion_is_documented():
    """The page of commands shows how a shell learns completion, with the variable's name that click expects."""
    assert "_RATESFLOW_COMPLETE=bash_source" in COMMANDS_PAGE
