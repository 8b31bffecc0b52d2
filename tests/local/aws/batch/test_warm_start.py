"""Tasks that start from a warm interpreter: they run, end and die as those of a new one."""

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator

import psutil
import pytest

from ratesflow.local.aws.batch.warm_start import HELD, SWITCH
from tests.local.aws.aws_stack import Jobs, Stack, prepare_batch, running, wait_for
from tests.local.process_control import command_of

TASK = ["python", "-P", "-m", "ratesflow.loader"]
FORK_SERVER = "from multiprocessing.forkserver import main"


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A port that accepts connections and never answers: a task waits there for its database."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        yield listener


def submit(jobs: Jobs, *arguments: str, **variables: str) -> str:
    """Submit a task with these arguments and variables."""
    environment = [{"name": name, "value": value} for name, value in variables.items()]
    return jobs.submit(containerOverrides={"command": [*TASK, *arguments], "environment": environment})


def waiting_task(stack: Stack, jobs: Jobs, silent: socket.socket) -> tuple[str, psutil.Process, socket.socket]:
    """Start a task that waits for its database; return its job, its process and the connection."""
    url = f"postgresql://a:b@127.0.0.1:{silent.getsockname()[1]}/c"
    job = submit(jobs, "compact", "--run-id", "one", DATABASE_URL=url, RATESFLOW_BUCKET="none")
    connection, _ = silent.accept()  # the task read its own environment
    wait_for((stack.data / "jobs" / f"{job}-1.json").exists)
    return job, psutil.Process(stack.record(job)["pid"]), connection


def has_ended(process: psutil.Process) -> bool:
    """Return whether a process is over; nobody may have reaped it yet."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def is_warm(process: psutil.Process) -> bool:
    """Return whether a process was forked by a fork server."""
    parent = process.parent()
    return parent is not None and any(part.startswith(FORK_SERVER) for part in parent.cmdline())


def test_a_task_is_forked_and_shows_its_command(stack: Stack, jobs: Jobs, silent: socket.socket) -> None:
    """A task is forked by the fork server, leads its own session, and shows the command of its job to `ps`."""
    job, process, connection = waiting_task(stack, jobs, silent)
    with connection:
        assert is_warm(process)
        assert command_of(process) == [*TASK, "compact", "--run-id", "one"]
        assert os.getsid(process.pid) == process.pid
        stack.client("batch").terminate_job(jobId=job, reason="enough")
        ended = jobs.end(job)
    assert (ended["status"], ended["container"]["exitCode"]) == ("FAILED", 75)


@pytest.mark.parametrize("arguments", [["--help"], ["validate"], ["nothing"]])
def test_output_and_exit_code_are_those_of_a_new_interpreter(stack: Stack, jobs: Jobs, arguments: list[str]) -> None:
    """A task writes the same lines and ends with the same code, warm and cold."""
    warm = jobs.end(submit(jobs, *arguments))
    switch = stack.data / SWITCH
    switch.touch()
    try:
        cold = jobs.end(submit(jobs, *arguments))
    finally:
        switch.unlink()
    assert warm["container"]["exitCode"] == cold["container"]["exitCode"]
    assert [timeless(line) for line in jobs.log(warm)] == [timeless(line) for line in jobs.log(cold)] != []


def timeless(line: str) -> object:
    """Return a line of a log without its time."""
    return {**json.loads(line), "time": ""} if line.startswith("{") else line


def test_the_switch_acts_on_the_next_job(stack: Stack, jobs: Jobs, silent: socket.socket) -> None:
    """With the file in the folder of the embedded AWS a task is a new interpreter, a child of the server."""
    (stack.data / SWITCH).touch()
    try:
        job, process, connection = waiting_task(stack, jobs, silent)
        with connection:
            assert process.ppid() == stack.process.pid
            process.kill()
            jobs.end(job)
    finally:
        (stack.data / SWITCH).unlink()


def test_a_killed_task_ends_its_job(stack: Stack, jobs: Jobs, silent: socket.socket) -> None:
    """A warm task that is killed ends its job with the code of a killed container."""
    job, process, connection = waiting_task(stack, jobs, silent)
    with connection:
        process.kill()
        assert jobs.end(job)["container"]["exitCode"] == 137


def test_task_that_is_killed_at_once_ends_its_job(stack: Stack, jobs: Jobs) -> None:
    """A warm task that is gone before the server has looked at it ends its job with the same code."""
    folder = stack.data / HELD
    folder.mkdir()
    over = threading.Event()

    def kill_all() -> None:
        while not over.is_set():
            for file in folder.iterdir():
                if file.name.isdigit():
                    os.kill(int(file.name), signal.SIGKILL)
                    file.unlink()

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        submitted = [submit(jobs, "--help") for _ in range(20)]
        ended = [jobs.end(job) for job in submitted]
    finally:
        over.set()
        killer.join()
        folder.rename(stack.data / "killed")
    assert {job["container"].get("exitCode") for job in ended} == {137}


def test_a_killed_fork_server_is_replaced(stack: Stack, jobs: Jobs, silent: socket.socket) -> None:
    """Tasks are killed with their fork server; the next ones run, and soon warm again."""
    job, process, connection = waiting_task(stack, jobs, silent)
    parent = process.parent()
    assert parent is not None
    with connection:
        parent.kill()
        assert jobs.end(job)["container"]["exitCode"] == 137
    wait_for(lambda: has_ended(process))
    assert jobs.end(submit(jobs, "--help"))["container"]["exitCode"] == 0
    job, process, connection = waiting_task(stack, jobs, silent)
    with connection:
        assert is_warm(process)
        process.kill()
        jobs.end(job)


def test_tasks_start_warm_in_a_folder_with_a_long_path(tmp_path, silent: socket.socket) -> None:
    """The path of a Unix socket has at most 107 bytes, but the folder of a stack may have a longer one."""
    with running(tmp_path / ("long" * 25)) as own:
        prepare_batch(own)
        jobs = Jobs(own)
        job, process, connection = waiting_task(own, jobs, silent)
        with connection:
            assert is_warm(process)
            process.kill()
            jobs.end(job)


def test_tasks_and_fork_server_die_with_the_server(tmp_path, silent: socket.socket) -> None:
    """A server that is killed leaves neither tasks nor a fork server behind."""
    with running(tmp_path) as own:
        prepare_batch(own)
        _, process, connection = waiting_task(own, Jobs(own), silent)
        parent = process.parent()
        assert parent is not None
        with connection:
            own.kill()
            wait_for(lambda: has_ended(process) and has_ended(parent))


def test_held_task_waits_before_its_first_line(stack: Stack, jobs: Jobs) -> None:
    """While the folder `held` exists, a task waits until its file there, which has its command, is deleted."""
    folder = stack.data / HELD
    folder.mkdir()
    try:
        job = submit(jobs, "--help")
        (file,) = wait_for(lambda: [each for each in folder.iterdir() if each.name.isdigit()])
        assert file.read_text().split("\n") == [*TASK, "--help"]
        assert psutil.pid_exists(int(file.name))
        assert jobs.describe(job)["status"] == "RUNNING"
        assert jobs.log(jobs.describe(job)) == []
        file.unlink()
        assert jobs.end(job)["status"] == "SUCCEEDED"
        other = submit(jobs, "--help")
        wait_for(lambda: [each for each in folder.iterdir() if each.name.isdigit()])
    finally:
        folder.rename(stack.data / "not-held")
    assert jobs.end(other)["status"] == "SUCCEEDED"
