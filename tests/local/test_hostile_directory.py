"""The product works in a directory with modules that have the names of its packages and of the standard library.

Each of these modules raises when it is imported, so that a process that imports from its current directory fails.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.conftest import RATESFLOW, Stack, new_stack

OWN_PACKAGES = ("api", "local", "loader", "workflow", "database", "ratesflow")
OWN_MODULES = ("json", "csv", "click", "tasks", "sitecustomize")
LANE = ("CNGGZ", "EETLL", "--from", "2021-02-01", "--to", "2021-02-03")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with modules that raise when they are imported."""
    found = tmp_path_factory.mktemp("hostile")
    for name in OWN_PACKAGES:
        (found / name).mkdir()
        (found / name / "__init__.py").write_text(f"raise ImportError('{name}/ of the current directory')\n")
    for name in ("database", *OWN_MODULES):
        (found / f"{name}.py").write_text(f"raise ImportError('{name}.py of the current directory')\n")
    return found


def run(folder: Path, *command: str, code: int = 0) -> str:
    """Run a command in a directory; return its output."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RATESFLOW_"))}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def hostile_stack(folder: Path) -> Iterator[Stack]:
    """A stack that `up --detach` starts in the directory, and `down` stops there."""
    stack = new_stack(folder / ".ratesflow")
    ports = ("--api-port", str(stack.api_port), "--aws-port", str(stack.aws_port), "--console-port", "0")
    try:
        assert "The stack is up" in run(folder, RATESFLOW, "up", "--detach", *ports)
        yield stack
        assert "The stack is down" in run(folder, RATESFLOW, "down")
        assert stack.processes() == []
    finally:
        for process in stack.processes():
            process.kill()


def test_batch_commands_work_in_hostile_directory(folder: Path, hostile_stack: Stack) -> None:
    """`sample`, `validate`, `ingest`, `batches`, `rates`, `undo` and all tasks work in the directory."""
    lines = ["orig_code,dest_code,day,price", *(f"CNGGZ,EETLL,2021-02-0{1 + n % 3},{1000 + n}" for n in range(90))]
    (folder / "prices.csv").write_text("\n".join(lines) + "\n")
    run(folder, RATESFLOW, "sample", "-n", "100", "-o", "sample.csv")
    assert "accepted, 90 rows" in run(folder, RATESFLOW, "validate", "prices.csv")
    assert "committed, 90 rows" in run(folder, RATESFLOW, "ingest", "prices.csv")
    assert "committed" in run(folder, RATESFLOW, "batches")
    rates = json.loads(run(folder, RATESFLOW, "rates", *LANE, "--json"))["rates"]
    assert [rate["count"] for rate in rates] == [30, 30, 30]
    (batch,) = json.loads(run(folder, RATESFLOW, "executions", "--json"))
    run(folder, RATESFLOW, "undo", batch["batch_id"])


def test_console_works_in_hostile_directory(folder: Path, hostile_stack: Stack) -> None:
    """The console, a separate process, is running, and its URL is printed."""
    from urllib.request import urlopen

    address = run(folder, RATESFLOW, "console").strip()
    with urlopen(address, timeout=10) as page:
        assert b"Executions" in page.read()


def test_validate_needs_no_stack(folder: Path) -> None:
    """The child process of `validate` does not import from the current directory either."""
    (folder / "bad.csv").write_text("orig_code,dest_code,day,price\nCNGGZ,EETLL,2021-02-01,0\n")
    assert "1 of 1 rows was rejected" in run(folder, RATESFLOW, "--home", "none", "validate", "bad.csv", code=3)


def test_console_module_starts_in_hostile_directory(folder: Path) -> None:
    """`python -P -m ratesflow.workflow.console` starts in the directory and reports an invalid argument."""
    command = (sys.executable, "-P", "-m", "ratesflow.workflow.console", "--home", "none", "--port", "bad")
    assert "invalid int value: 'bad'" in run(folder, *command, code=2)


def test_python_module_is_the_command_line(folder: Path, tmp_path: Path) -> None:
    """`python -P -m ratesflow` runs the command line in the directory; elsewhere -P is not needed."""
    assert "ratesflow, version" in run(folder, sys.executable, "-P", "-m", "ratesflow", "--version")
    assert "ratesflow, version" in run(tmp_path, sys.executable, "-m", "ratesflow", "--version")
