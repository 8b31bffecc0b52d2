"""`ratesflow --env NAME`: the embedded stack as if it were AWS, with SSM parameters and the caller's credentials."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ratesflow.local.processes import free_port
from ratesflow.workflow.client.environment import NEEDED, parameter_name
from tests.loader.samples import csv, rows
from tests.local.conftest import RATESFLOW, Stack
from tests.workflow.console.test_console import Browser, until

NAME = "stage"


@pytest.fixture(scope="module")
def caller(stack: Stack) -> dict[str, str]:
    """The variables of a user of the environment; its addresses are published as Terraform does."""
    for name in NEEDED:
        parameter = parameter_name(name, NAME)
        stack.aws("ssm").put_parameter(Name=parameter, Value=stack.environment[name], Type="String", Overwrite=True)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RATESFLOW_", "DATABASE"))}
    aws = {name: value for name, value in stack.environment.items() if name.startswith("AWS_")}
    return own | aws


def ratesflow(caller: dict[str, str], folder: Path, *arguments: str, code: int = 0) -> str:
    command = [RATESFLOW, "--env", NAME, *arguments]
    done = subprocess.run(command, env=caller, cwd=folder, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def console(caller: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The address that `ratesflow --env NAME console` prints; Ctrl-C ends it, and its process with it."""
    command = [RATESFLOW, "--env", NAME, "console", "--port", str(free_port())]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, env=caller, cwd=tmp_path, **pipes) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)


def test_commands_work_by_the_name_of_an_environment(caller, stack, tmp_path):
    """Ingest, executions, show, batches and undo find everything by the published parameters alone."""
    path = tmp_path / "named.csv"
    path.write_bytes(csv(rows(400, seed=61)))
    (batch,) = re.findall(r"named-\w+", ratesflow(caller, tmp_path, "ingest", str(path)))[-1:]
    assert batch in ratesflow(caller, tmp_path, "executions")
    shown = ratesflow(caller, tmp_path, "show", batch)
    assert "committed, 400 rows" in shown
    assert "https://eu-central-2.console.aws.amazon.com/states/home" in shown
    assert batch in ratesflow(caller, tmp_path, "batches")
    ratesflow(caller, tmp_path, "undo", batch)
    assert stack.query("SELECT state FROM batches WHERE batch_id = %s", batch) == [("undone",)]


def test_console_needs_its_key(console):
    """Only a browser that opens the printed address is served; the key does not stay in its address."""
    stranger = Browser(console)
    assert stranger.request("/").status == 403
    assert stranger.request("/?key=guessed").status == 403
    browser = Browser(console)
    answer = browser.request(f"/?{urlsplit(console).query}")
    assert (answer.status, answer.headers["Location"]) == (302, "/")
    assert browser.request("/").status == 200


def test_console_shows_and_acts_with_the_callers_credentials(console, caller, stack, tmp_path):
    """A batch is found, drawn, and undone by a console that has only the name of the environment."""
    path = tmp_path / "seen-on-aws.csv"
    path.write_bytes(csv(rows(500, seed=62)))
    name = stack.ingest(path)["batch_id"]
    browser = Browser(console)
    browser.request(f"/?{urlsplit(console).query}")
    assert name in browser.request("/").text
    page = browser.request(f"/executions/{name}").text
    assert '<g class="good">' in page
    (log, *_) = re.findall(rf'href="(/executions/{name}/jobs/[^"]+)"', page)
    assert "accepted" in browser.request(log).text
    work = browser.request(f"/do/undo/{name}", {"token": browser.token(f"/confirm/undo/{name}")})
    assert work.status == 303
    until(lambda: browser.request(work.headers["Location"]), "Done.")
    assert stack.query("SELECT state FROM batches WHERE batch_id = %s", name) == [("undone",)]


def test_console_that_cannot_start_reports_why(caller, stack, tmp_path):
    """A port in use and an environment that does not exist are reported."""
    taken = str(stack.aws_port)
    printed = ratesflow(caller, tmp_path, "console", "--port", taken, code=1)
    assert f"port {taken} is in use" in printed
    assert "Traceback" not in printed
    printed = ratesflow(caller | {"RATESFLOW_ENV": ""}, tmp_path, "--env", "nowhere", "console", code=69)
    assert "There is no environment nowhere" in printed
