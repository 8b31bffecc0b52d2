"""A whole embedded stack, started and stopped by the command line."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest

from ratesflow.local.deploy import clients
from ratesflow.local.processes import free_port
from ratesflow.workflow.client.aws_clients import AwsClients
from tests.sessions import Sessions

RATESFLOW = str(Path(sys.executable).with_name("ratesflow"))


@dataclass
class Stack:
    """An embedded stack: its folder and ports, and methods to use it."""

    home: Path
    api_port: int
    aws_port: int
    _sessions: Sessions = field(default_factory=Sessions, repr=False)

    def run(
        self, *arguments: str, code: int | None = 0, stdin: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command of `ratesflow` with a text as its standard input. With `code` None, accept any exit code."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DATABASE_"))}
        command = [RATESFLOW, "--home", str(self.home), *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=150, env=environment)
        assert code is None or done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def up(self, code: int | None = 0) -> "subprocess.CompletedProcess[str]":
        """Start the stack on its ports."""
        ports = ("--api-port", str(self.api_port), "--aws-port", str(self.aws_port))
        return self.run("up", "--detach", *ports, "--console-port", "0", code=code)

    def ingest(self, path: Path, code: int = 0) -> dict[str, Any]:
        """Ingest a file; return the line of JSON that the command prints."""
        return json.loads(self.run("ingest", str(path), "--json", code=code).stdout)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that `ratesflow env` prints."""
        return json.loads((self.home / "environment.json").read_text())

    @property
    def aws(self) -> AwsClients:
        """Clients of the embedded AWS."""
        return clients(self.environment["AWS_ENDPOINT_URL"])

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query of the database."""
        return self._sessions.query(self.environment["DATABASE_URL"], statement, values)

    def rates(self, **query: str) -> list[dict[str, Any]]:
        """Return the rates that the API responds with."""
        text = "&".join(f"{name}={value}" for name, value in query.items())
        with urlopen(f"{self.environment['RATESFLOW_API_URL']}/rates?{text}", timeout=10) as response:
            return json.load(response)["rates"]

    def processes(self) -> list[psutil.Process]:
        """Return the processes of this stack, and their children."""
        found: dict[int, psutil.Process] = {}
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or []
            if process.pid != os.getpid() and any(str(self.home) in part for part in command):
                found |= {each.pid: each for each in (process, *process.children(recursive=True))}
        return list(found.values())

    def execution(self, name: str, machine: str = "ratesflow-ingestion") -> Any:
        """Describe an execution by its name; return None if it does not exist."""
        arn = self.environment["RATESFLOW_STATE_MACHINE_ARN"].replace(":stateMachine:", ":execution:")
        arn = f"{arn.rpartition(':')[0]}:{machine}:{name}"
        states = self.aws("stepfunctions")
        try:
            return states.describe_execution(executionArn=arn)
        except states.exceptions.ExecutionDoesNotExist:
            return None


def new_stack(folder: Path) -> Stack:
    """Return a stack with ports that no other test uses, which is not started."""
    return Stack(folder, own_port(), own_port())


_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = cycle(range(10_000 + _WORKER * 500, 10_500 + _WORKER * 500))


def own_port() -> int:
    """Return a free port of this worker alone: a stack that is not up must keep its ports."""
    return next(port for port in _PORTS if free_port(port) == port)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack, shared by the tests that do not stop it."""
    found = new_stack(tmp_path_factory.mktemp("stack") / "home")
    found.up()
    yield found
    found.run("down")
    assert not found.processes()


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack for one test, which is stopped at its end."""
    found = new_stack(tmp_path / "home")
    yield found
    found.run("down", code=None)
    for process in found.processes():
        process.kill()
