"""The server process: how it starts, fails to start, and ends with its jobs."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from tests.local.aws.aws_stack import Jobs, launch, prepare_batch, running, wait_for

# A job with a child process, both of which would run for an hour.
FAMILY = "echo $$; sleep 3600 & echo $!; wait"


def _family(jobs: Jobs, job_id: str) -> list[psutil.Process]:
    job = jobs.until(job_id, "RUNNING")
    lines = wait_for(lambda: found if len(found := jobs.log(job)) == 2 else None)
    return [psutil.Process(int(line)) for line in lines]


def _alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_port_in_use_is_reported(tmp_path):
    """A port in use is reported in one line with the port and the option, and with exit code 69."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-P", "-m", "ratesflow.local.aws", "--port", str(port), "--data", str(tmp_path)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (69, "")
    assert len(ended.stderr.splitlines()) == 1
    assert f"Port {port} is in use" in ended.stderr
    assert "--port" in ended.stderr


def test_other_moto_version_is_rejected(tmp_path):
    """Another version of moto than the patched one is rejected, with the reason and the remedy."""
    code = """
        import importlib.metadata, sys
        importlib.metadata.version = lambda name: "5.2.6"
        from ratesflow.local.aws.__main__ import main
        sys.exit(main(["--data", sys.argv[1]]))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 69
    assert "needs moto 5.2.5, not 5.2.6" in ended.stderr
    assert "pip install moto==5.2.5" in ended.stderr


def test_server_listens_on_loopback_only(stack):
    """The server listens only on the loopback interface."""
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(stack.process.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"]


def test_directory_in_use_is_rejected(stack):
    """A second server on the same directory does not start, and leaves the first one's jobs alone."""
    jobs = Jobs(stack)
    job_id = jobs.submit("sleep 30")
    jobs.until(job_id, "RUNNING")
    command = [sys.executable, "-P", "-m", "ratesflow.local.aws", "--port", "0", "--data", str(stack.data)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 69
    assert "--data" in ended.stderr
    assert jobs.describe(job_id)["status"] == "RUNNING"
    stack.client("batch").terminate_job(jobId=job_id, reason="over")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signals_terminate_server_and_jobs(tmp_path, signum):
    """SIGTERM and SIGINT terminate the jobs with all their processes; then the server exits with 0."""
    stack = launch(tmp_path, None, "--kill-grace", "1")
    prepare_batch(stack)
    jobs = Jobs(stack)
    family = _family(jobs, jobs.submit(FAMILY))
    stack.process.send_signal(signum)
    assert stack.process.wait(10) == 0
    assert not any(_alive(process) for process in family)


def test_jobs_do_not_survive_a_killed_server(tmp_path):
    """The jobs of a killed server end at once, and their child processes when the next server starts."""
    stack = launch(tmp_path)
    prepare_batch(stack)
    jobs = Jobs(stack)
    job_id = jobs.submit(FAMILY)
    parent, child = _family(jobs, job_id)
    stack.kill()
    wait_for(lambda: not _alive(parent))
    with running(tmp_path) as second:
        assert not _alive(child)
        record = second.record(job_id)
    assert record["ended_at"] is not None
    assert record["exit_code"] == 137


def test_server_ends_with_its_parent(tmp_path):
    """A server ends when its parent dies."""
    code = f"""
        import subprocess, sys, time
        server = subprocess.Popen([{sys.executable!r}, "-P", "-m", "ratesflow.local.aws", "--port", sys.argv[1],
            "--data", {str(tmp_path)!r}], stdout=subprocess.PIPE)
        server.stdout.readline()
        print(server.pid, flush=True)
        time.sleep(60)
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(port)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    server = psutil.Process(int(parent.stdout.readline()))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    began = time.monotonic()
    wait_for(lambda: not _alive(server), 8)
    assert time.monotonic() - began < 8
