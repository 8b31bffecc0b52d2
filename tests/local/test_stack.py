"""Starting and stopping: twice, after a crash, with a port in use; nothing is left running, nothing is lost."""

import os
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from ratesflow.local.state_directory import StateDirectory
from ratesflow.workflow.cli import main
from tests.loader.samples import csv, rows
from tests.local.conftest import Stack
from tests.local.process_control import wait_for


def test_up_twice_and_down_twice_are_harmless(own_stack: Stack) -> None:
    """The second `up` finds the first; after `down` no process is left, and a second `down` says so."""
    own_stack.up()
    before = own_stack.environment
    own_stack.up()
    assert own_stack.environment == before
    own_stack.run("down")
    assert own_stack.processes() == []
    own_stack.run("down")
    assert own_stack.run("env", code=69).stderr


def test_up_after_kill_9_finds_everything(own_stack: Stack, tmp_path: Path) -> None:
    """After SIGKILL of the stack its processes are gone; `up` brings back ledger, objects and rates."""
    own_stack.up()
    path = tmp_path / "prices.csv"
    path.write_bytes(csv(rows(2000, seed=21)))
    said = own_stack.ingest(path)
    pid = int((own_stack.home / "stack.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not own_stack.processes())
    own_stack.up()
    assert own_stack.ask("SELECT state FROM batches WHERE batch_id = %s", said["batch_id"]) == [("committed",)]
    bucket = own_stack.environment["RATESFLOW_BUCKET"]
    assert own_stack.aws("s3").get_object(Bucket=bucket, Key="incoming/prices.csv")["Body"].read() == path.read_bytes()
    assert own_stack.ingest(path, code=4)["outcome"] == "duplicate"


def test_what_a_killed_stack_said_is_no_word_of_the_next(tmp_path: Path) -> None:
    """From the moment at which a stack holds its folder, what one that was killed left there is not read as its own."""
    home = StateDirectory(tmp_path)
    home.write_environment({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    lock = home.lock()
    assert lock is not None
    with lock:
        assert home.pid() == os.getpid()
        assert home.environment() is None


def test_a_batch_that_a_crash_interrupted_ends_committed_once(own_stack: Stack, tmp_path: Path) -> None:
    """SIGKILL of the whole stack while a batch loads: after `up` it is taken up again by its name."""
    own_stack.up()
    path = tmp_path / "interrupted.csv"
    path.write_bytes(csv(rows(200_000, seed=22, lanes=100)))
    own_stack.run("ingest", str(path), "--no-wait")
    wait_for(lambda: own_stack.ask("SELECT 1 FROM batches WHERE state = 'open' AND rows > 0"))
    os.kill(int((own_stack.home / "stack.pid").read_text()), signal.SIGKILL)
    wait_for(lambda: not own_stack.processes())
    own_stack.up()
    wait_for(lambda: own_stack.ask("SELECT 1 FROM batches WHERE state = 'committed'"))
    assert own_stack.ask("SELECT count(*), count(DISTINCT batch_no) FROM prices") == [(200_000, 1)]


@pytest.mark.parametrize("option", ["api_port", "aws_port"])
def test_a_port_in_use_is_named(own_stack: Stack, option: str) -> None:
    """`up` says which port is taken and which option chooses another, and leaves nothing running."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        setattr(own_stack, option, taken.getsockname()[1])
        refused = own_stack.up(code=None)
    assert refused.returncode != 0
    assert f"port {getattr(own_stack, option)} is in use" in refused.stderr
    assert f"--{option.replace('_', '-')}" in refused.stderr
    assert own_stack.processes() == []


def test_a_process_that_dies_is_started_again(own_stack: Stack, tmp_path: Path) -> None:
    """PostgreSQL killed under the stack comes back by itself, and a batch then commits."""
    own_stack.up()
    pid_file = own_stack.home / "postgres" / "postmaster.pid"
    before = int(pid_file.read_text().split()[0])
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: pid_file.exists() and int(pid_file.read_text().split()[0]) != before)
    path = tmp_path / "after.csv"
    path.write_bytes(csv(rows(200, seed=23)))
    assert own_stack.ingest(path)["outcome"] == "committed"


def test_port_0_is_a_free_port(own_stack: Stack) -> None:
    """With 0 for every port each part listens on one of its own, which `up` and `env` tell."""
    own_stack.api_port = own_stack.aws_port = 0
    said = own_stack.up().stderr
    names = ("RATESFLOW_API_URL", "AWS_ENDPOINT_URL", "RATESFLOW_CONSOLE_URL")
    ports = {urlsplit(own_stack.environment[name]).port for name in names}
    assert len(ports - {0, None}) == 3
    assert own_stack.environment["RATESFLOW_API_URL"] in said
    assert own_stack.environment["RATESFLOW_CONSOLE_URL"] in said
    assert own_stack.aws("s3").list_buckets()["Buckets"]
    assert own_stack.rates(date_from="2021-01-01", date_to="2021-01-01", orig_code="CNGGZ", dest_code="EETLL")


@pytest.mark.parametrize("option", ["--api-port", "--aws-port", "--console-port"])
def test_a_port_that_cannot_be_is_refused_at_once(option: str) -> None:
    """A number that is no port is a wrong argument; nothing is started."""
    done = CliRunner().invoke(main, ["up", option, "65536"])
    assert done.exit_code == 2
    assert f"'{option}': 65536 is not in the range 0<=x<=65535" in done.output
