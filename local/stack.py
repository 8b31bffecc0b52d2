"""`ratesflow up` and `down`: starts the embedded stack in the foreground or the background, and stops it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from ratesflow.local.processes import StackError, python
from ratesflow.local.state_directory import StateDirectory

__all__ = ["StackError", "down", "up"]

# More than all components together may take: each has its own limit (startup).
UP_SECONDS = 3600
PROGRESS_SECONDS = 10
MODULES = {f"ratesflow.{part}" for part in ("local", "local.aws", "local.event_source_mapping", "workflow.console")}
DOWN_SECONDS = 60
STRAY_SECONDS = 10


def up(
    home: Path,
    *,
    api_port: int,
    aws_port: int,
    console_port: int,
    detach: bool,
    on_ready: Callable[[Mapping[str, str]], None],
    on_progress: Callable[[str], None] = lambda _: None,
) -> None:
    """Start a stack unless it is running. `on_ready` is called with its environment once it is up.

    Port 0 picks a free port. While the stack starts, `on_progress` is called every ten seconds with the component
    that is starting. With `detach` the stack continues after this returns; without, this returns when the stack
    ends, by Ctrl-C or `down`. Raises StackError if it cannot start.
    """
    state = StateDirectory(home.resolve())
    if environment := _running(state):
        on_ready(environment)
        return
    state.prepare()
    state.environment_file.unlink(missing_ok=True)  # of a killed stack
    command = python("ratesflow.local", "--home", str(state.folder))
    command += ["--api-port", str(api_port), "--aws-port", str(aws_port), "--console-port", str(console_port)]
    log = state.logs / "stack.log"
    with log.open("ab") as output:
        begin = output.tell()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    on_ready(_wait_until_up(state, process, lambda: _start_failure(log, begin), on_progress))
    if not detach:
        _wait_until_ended(process)


def _running(home: StateDirectory) -> dict[str, str] | None:
    """Return the environment of a stack that runs or starts here; None if there is none."""
    deadline = time.monotonic() + UP_SECONDS
    while home.pid() is not None and time.monotonic() < deadline:
        if environment := home.environment():
            return environment
        time.sleep(0.1)
    return None


def _wait_until_up(
    home: StateDirectory,
    process: "subprocess.Popen[bytes]",
    failure: Callable[[], str],
    on_progress: Callable[[str], None],
) -> dict[str, str]:
    deadline, due = time.monotonic() + UP_SECONDS, time.monotonic() + PROGRESS_SECONDS
    while time.monotonic() < deadline:
        if time.monotonic() > due:
            due += PROGRESS_SECONDS
            on_progress(f"Waiting for {home.starting() or 'the supervisor'} …")
        if environment := home.environment():
            return environment
        if process.poll() is not None:
            raise StackError(failure())
        time.sleep(0.05)
    process.terminate()
    raise StackError(f"the stack was not up after {UP_SECONDS} seconds: {failure()}")


def _start_failure(log: Path, begin: int) -> str:
    """Return why a stack did not start: its last error message, or the end of its log, which starts at `begin`."""
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read().decode(errors="replace").splitlines()[-40:]
    for at in range(len(lines) - 1, -1, -1):
        if lines[at].startswith("ratesflow: "):
            return "\n".join(lines[at:]).removeprefix("ratesflow: ")
    return f"the stack did not start. The end of {log}:\n" + "\n".join(lines[-15:])


def _wait_until_ended(process: "subprocess.Popen[bytes]") -> None:
    """Wait until the stack ends; stop it on Ctrl-C."""
    try:
        process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGTERM)
        process.wait()


def down(home: Path) -> bool:
    """Stop the stack of a directory with all its processes. Return False if none was running.

    Raises StackError if it does not end within a minute.
    """
    state = StateDirectory(home.resolve())
    pid = state.pid()
    if pid is None:
        state.environment_file.unlink(missing_ok=True)
        return _stop_strays(state)
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_SECONDS
    while state.pid() is not None:
        if time.monotonic() > deadline:
            raise StackError(f"the stack, process {pid}, did not end; end it with: kill -9 {pid}")
        time.sleep(0.05)
    _stop_strays(state)
    return True


def _stop_strays(home: StateDirectory) -> bool:
    """Stop the processes that a killed stack left running in this directory. Return whether there were any."""
    strays = [process for process in psutil.process_iter(["cmdline"]) if _belongs(process, home.folder)]
    for process in strays:
        process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + STRAY_SECONDS
    while any(map(_is_running, strays)) and time.monotonic() < deadline:
        time.sleep(0.02)
    for process in filter(_is_running, strays):
        process.kill()
    return bool(strays)


def _is_running(process: psutil.Process) -> bool:
    """Return whether a process is running. A zombie is not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _belongs(process: psutil.Process, folder: Path) -> bool:
    command = process.info["cmdline"] or []
    in_folder = any(argument == str(folder) or argument.startswith(f"{folder}/") for argument in command)
    of_stack = any(argument in MODULES or argument.endswith("/postgres") for argument in command[:4])
    return in_folder and of_stack and process.pid != os.getpid()
