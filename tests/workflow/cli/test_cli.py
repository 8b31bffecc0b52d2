"""The command line without a stack."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import boto3
import click
import pytest
from click.testing import CliRunner

from ratesflow.workflow.cli import main
from ratesflow.workflow.cli.commands import registry
from ratesflow.workflow.client.environment import LOCAL_ONLY, NEEDED
from ratesflow.workflow.placeholders import definition_text

PORTS = ["AAAAA", "BBBBB", "CCCCC"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs `ratesflow` in a folder without a stack."""
    for name in ("RATESFLOW_HOME", "RATESFLOW_ENV", "RATESFLOW_STATE_MACHINE_ARN", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(part) for part in arguments])


@pytest.fixture
def dead_stack(tmp_path):
    """A home whose stack has crashed: its file exists, and nothing listens."""
    (tmp_path / "home").mkdir()
    values = dict.fromkeys((*NEEDED, *LOCAL_ONLY), "x") | {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "RATESFLOW_API_URL": "http://127.0.0.1:1",
        "RATESFLOW_STATE_MACHINE_ARN": "arn:aws:states:eu-west-1:123456789012:stateMachine:flow",
        "RATESFLOW_CONSOLE_URL": "it's here",
    }
    (tmp_path / "home" / "environment.json").write_text(json.dumps(values))
    return tmp_path / "home"


def commands(group=main, path=()):
    for name, command in sorted(group.commands.items()):
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize(
    "arguments",
    [
        ("batches", "--limit", "-1"),
        ("batches", "--limit", "0"),
        ("executions", "--limit", "-1"),
        ("executions", "--limit", "0"),
        ("compact", "--min-batches", "-1"),
        ("show", "x", "--lines", "-5"),
    ],
    ids=" ".join,
)
def test_numbers_out_of_range_are_wrong_usage(run, arguments):
    """A negative number, and a list of none, exit with 2 and name the range."""
    done = run(*arguments)
    assert done.exit_code == 2
    assert "is not in the range" in done.output


@pytest.mark.parametrize("path", [path for path, _ in commands()], ids=" ".join)
def test_help_has_a_sentence_an_example_and_exit_codes(run, path):
    """The help of every command has a summary, an example of itself, and its exit codes."""
    help_text = run(*path, "--help").output
    assert "Exit codes:" in help_text
    example = help_text.split("Example:")[1].split("Exit codes:")[0]
    assert path[-1] in example
    assert "ratesflow" in example
    sentence = help_text.split("\n\n")[1].strip()
    assert len(sentence) > 20


def test_summaries_fit_a_terminal(run, monkeypatch):
    """In the list of commands no summary is cut off at 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    for group in ((), ("reference",)):
        listed = run(*group, "--help").output.split("Commands:")[1]
        assert "..." not in listed
        assert max(map(len, listed.splitlines())) <= 80


def test_every_command_is_found_by_its_name():
    """Each command is defined in the file of its name, and each file in the folders of commands is a command."""
    defined = {command.callback.__module__.removeprefix(f"{registry.__package__}.") for command in registry.COMMANDS}
    folder = Path(registry.__file__).parent
    assert defined == {f"{file.parent.name}.{file.stem}" for file in folder.glob("*/[a-z]*.py")}
    assert {name.split(".")[1] for name in defined} == {command.name for command in registry.COMMANDS}


def test_help_is_quick():
    """`ratesflow --help` takes less than 0.4 seconds of processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", "from ratesflow.workflow.cli import main; main(['--help'])"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "ingest" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.4


def test_help_imports_nothing_slow():
    """Importing the command line imports no boto3, Rich, SDK, HTTP, database or stack."""
    slow = "{'boto3', 'botocore', 'rich', 'stepfunctions', 'sqlalchemy', 'psycopg2', 'http', 'ssl'}"
    ours = "{'ratesflow.local', 'ratesflow.database'}"
    names = "{m.split('.')[0] for m in sys.modules} | set(sys.modules)"
    code = f"import sys, ratesflow.workflow.cli; print(sorted(({slow} | {ours}) & ({names})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


NEEDS_A_STACK = {
    "env": [],
    "ingest": ["prices.csv"],
    "executions": [],
    "show": ["x"],
    "start": ["s3://b/k"],
    "stop": ["x"],
    "redo": ["x"],
    "redrive": [],
    "graph": ["x"],
    "console": [],
    "batches": [],
    "gc": [],
    "compact": [],
    "undo": ["x"],
    "migrate": [],
    "reference load": ["prices.csv", "prices.csv"],
    "rates": ["CNSHA", "NLRTM", "--from", "2021-01-01", "--to", "2021-01-02"],
}
NEEDS_NONE = {"up", "down", "validate", "definition", "sample"}
READS_FILE_ONLY = ("env", "console")  # of the embedded stack: no request is sent


def test_every_command_is_tried_without_a_stack():
    """The tables here have every command, so that each one is tested for tracebacks."""
    leaves = {" ".join(path) for path, command in commands() if not isinstance(command, click.Group)}
    assert leaves == NEEDS_A_STACK.keys() | NEEDS_NONE


@pytest.mark.parametrize("name", NEEDS_A_STACK)
def test_without_a_stack_commands_name_the_remedy(run, name):
    """A command that needs a stack and finds none reports how to start one and exits 69, as documented."""
    Path("prices.csv").write_text("")
    done = run(*name.split(), *NEEDS_A_STACK[name])
    assert done.exit_code == 69
    assert "start one with `ratesflow up --detach`, or name an environment with --env" in done.output
    assert isinstance(done.exception, SystemExit)
    assert "69 no stack" in " ".join(run(*name.split(), "--help").output.split())


@pytest.mark.parametrize("name", [name for name in NEEDS_A_STACK if name not in READS_FILE_ONLY])
def test_stack_that_went_away_is_reported(run, dead_stack, name):
    """A stack whose file exists but which does not respond is reported as such, with exit 69."""
    Path("prices.csv").write_text("")
    done = run("--home", dead_stack, *name.split(), *NEEDS_A_STACK[name])
    assert done.exit_code == 69, done.output
    assert "answer" in done.output
    assert isinstance(done.exception, SystemExit)


@pytest.mark.parametrize("region", ["", "eu-west-1"], ids=["no region", "no credentials"])
@pytest.mark.parametrize("name", NEEDS_A_STACK)
def test_without_credentials_commands_name_the_variables(run, monkeypatch, name, region):
    """A command for an environment on AWS, run without credentials, names what to set and exits 69."""
    for variable in [variable for variable in os.environ if variable.startswith("AWS_")]:
        monkeypatch.delenv(variable)
    nothing = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none"}
    for variable, value in (nothing | ({"AWS_DEFAULT_REGION": region} if region else {})).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    Path("prices.csv").write_text("")
    done = run("--env", "prod", *name.split(), *NEEDS_A_STACK[name])
    assert done.exit_code == 69, done.output
    assert "AWS_PROFILE" in done.output
    assert isinstance(done.exception, SystemExit)


def test_commands_that_need_no_stack_run_without_one(run):
    """sample, validate, definition and down need no stack; up and down reject an environment on AWS."""
    assert run("sample", "-n", "20", "-o", "s.csv").exit_code == 0
    assert run("validate", "s.csv").exit_code == 0
    assert run("--env", "prod", "up").exit_code == 2
    assert run("--env", "prod", "down").exit_code == 2
    done = run("down")
    assert (done.exit_code, done.output) == (0, "No stack was running in .ratesflow.\n")


def test_file_that_cannot_be_written_is_reported(run):
    """A file in a folder that does not exist is reported in a sentence."""
    for arguments in (("sample", "-n", "2", "-o", "no/such.csv"), ("graph", "-o", "no/such.mmd")):
        done = run(*arguments)
        assert done.exit_code == 1
        assert "No such file or directory: 'no/such" in done.output
        assert isinstance(done.exception, SystemExit)


def completed(run, line, **variables):
    """Return the completions at the end of a line."""
    words = {"_RATESFLOW_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    code = "import sys; sys.argv = ['ratesflow']; from ratesflow.workflow.cli import main; main(prog_name='ratesflow')"
    environment = {**os.environ, **words, **variables}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stderr == ""
    return [item.split(",")[1] for item in done.stdout.split()]


def test_shells_complete_commands_and_options(run):
    """Click's own completion works: commands, options, and the values that an option may have."""
    assert completed(run, "ratesflow re") == ["redo", "redrive", "reference"]
    assert completed(run, "ratesflow ingest --fo") == ["--force"]
    assert completed(run, "ratesflow batches --state un") == ["undone"]


@pytest.mark.parametrize("line", ["ratesflow show x", "ratesflow --env prod undo x"])
def test_completion_without_a_stack_is_silent(run, dead_stack, line):
    """Without a responding stack, completion returns no name and no message."""
    assert completed(run, line) == []
    assert completed(run, line, RATESFLOW_HOME=str(dead_stack)) == []


def test_env_prints_what_a_shell_reads(run, dead_stack):
    """`env` prints export lines that a shell can evaluate, and the same values as JSON."""
    lines = run("--home", dead_stack, "env").output
    script = f"{lines}\nprintf '%s' \"$RATESFLOW_CONSOLE_URL\""
    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout == "it's here"
    assert "export RATESFLOW_API_URL='http://127.0.0.1:1'\n" in lines
    assert json.loads(run("--home", dead_stack, "env", "--json").output)["RATESFLOW_BUCKET"] == "x"


def test_home_and_env_exclude_each_other(run):
    """A home and an environment on AWS at once are wrong usage."""
    assert run("--home", "a", "--env", "b", "executions").exit_code == 2


def test_wrong_usage_exits_2(run):
    """A missing file, an invalid date, an invalid count: exit 2 before anything happens."""
    assert run("ingest", "nope.csv").exit_code == 2
    assert run("rates", "A", "B", "--from", "yesterday", "--to", "2021-01-01").exit_code == 2
    assert run("sample", "-n", "0").exit_code == 2
    assert run("sample", "-n", "2", "--invalid", "3").exit_code == 2


def test_definition_is_the_file(run):
    """`definition` prints the file that Terraform deploys."""
    assert run("definition").output == definition_text()
