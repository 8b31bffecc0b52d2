"""Starting and stopping the stack: twice, after a crash, with a port in use; no process and no data are lost."""

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
from tests.waiting import wait_for


def test_up_twice_and_down_twice_are_harmless(own_stack: Stack) -> None:
    """A second `up` finds the running stack; `down` leaves no process, and a second `down` is harmless."""
    own_stack.up()
    before = own_stack.environment
    own_stack.up()
    assert own_stack.environment == before
    own_stack.run("down")
    assert own_stack.processes() == []
    own_stack.run("down")
    assert own_stack.run("env", code=69).stderr


def test_up_after_a_kill_restores_ledger_objects_and_rates(own_stack: Stack, tmp_path: Path) -> None:
    """After SIGKILL of the supervisor all processes end; `up` restores ledger, objects and rates."""
    own_stack.up()
    path = tmp_path / "prices.csv"
    path.write_bytes(csv(rows(2000, seed=21)))
    result = own_stack.ingest(path)
    pid = int((own_stack.home / "stack.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not own_stack.processes())
    own_stack.up()
    assert own_stack.query("SELECT state FROM batches WHERE batch_id = %s", result["batch_id"]) == [("committed",)]
    bucket = own_stack.environment["RATESFLOW_BUCKET"]
    assert own_stack.aws("s3").get_object(Bucket=bucket, Key="incoming/prices.csv")["Body"].read() == path.read_bytes()
    assert own_stack.ingest(path, code=4)["outcome"] == "duplicate"


def test_environment_of_a_killed_stack_is_ignored(tmp_path: Path) -> None:
    """Once a stack has locked its directory, the environment file of a killed stack is not read."""
    home = StateDirectory(tmp_path)
    home.write_environment({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    lock = home.lock()
    assert lock is not None
    with lock:
        assert home.pid() == os.getpid()
        assert home.environment() is None


def test_batch_interrupted_by_a_crash_is_committed_once(own_stack: Stack, tmp_path: Path) -> None:
    """A batch that is loading when the stack is killed is committed once after `up`."""
    own_stack.up()
    path = tmp_path / "interrupted.csv"
    path.write_bytes(csv(rows(200_000, seed=22, lanes=100)))
    own_stack.run("ingest", str(path), "--no-wait")
    wait_for(lambda: own_stack.query("SELECT 1 FROM batches WHERE state = 'open' AND rows > 0"))
    os.kill(int((own_stack.home / "stack.pid").read_text()), signal.SIGKILL)
    wait_for(lambda: not own_stack.processes())
    own_stack.up()
    wait_for(lambda: own_stack.query("SELECT 1 FROM batches WHERE state = 'committed'"))
    assert own_stack.query("SELECT count(*), count(DISTINCT batch_no) FROM prices") == [(200_000, 1)]


@pytest.mark.parametrize("option", ["api_port", "aws_port"])
def test_up_names_a_port_in_use(own_stack: Stack, option: str) -> None:
    """`up` reports the port in use and the option that chooses another, and leaves no process."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        setattr(own_stack, option, taken.getsockname()[1])
        failed = own_stack.up(code=None)
    assert failed.returncode != 0
    assert f"port {getattr(own_stack, option)} is in use" in failed.stderr
    assert f"--{option.replace('_', '-')}" in failed.stderr
    assert own_stack.processes() == []


def test_killed_postgres_is_restarted(own_stack: Stack, tmp_path: Path) -> None:
    """The stack restarts a killed PostgreSQL, and a batch then commits."""
    own_stack.up()
    pid_file = own_stack.home / "postgres" / "postmaster.pid"
    before = int(pid_file.read_text().split()[0])
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: pid_file.exists() and int(pid_file.read_text().split()[0]) != before)
    path = tmp_path / "after.csv"
    path.write_bytes(csv(rows(200, seed=23)))
    assert own_stack.ingest(path)["outcome"] == "committed"


def test_port_0_picks_a_free_port(own_stack: Stack) -> None:
    """With port 0 each component listens on a free port, which `up` and `env` print."""
    own_stack.api_port = own_stack.aws_port = 0
    printed = own_stack.up().stderr
    names = ("RATESFLOW_API_URL", "AWS_ENDPOINT_URL", "RATESFLOW_CONSOLE_URL")
    ports = {urlsplit(own_stack.environment[name]).port for name in names}
    assert len(ports - {0, None}) == 3
    assert own_stack.environment["RATESFLOW_API_URL"] in printed
    assert own_stack.environment["RATESFLOW_CONSOLE_URL"] in printed
    assert own_stack.aws("s3").list_buckets()["Buckets"]
    assert own_stack.rates(date_from="2021-01-01", date_to="2021-01-01", orig_code="CNGGZ", dest_code="EETLL")


@pytest.mark.parametrize("option", ["--api-port", "--aws-port", "--console-port"])
def test_port_out_of_range_is_rejected(option: str) -> None:
    """A port out of range is an invalid argument; nothing is started."""
    done = CliRunner().invoke(main, ["up", option, "65536"])
    assert done.exit_code == 2
    assert f"'{option}': 65536 is not in the range 0<=x<=65535" in done.output
