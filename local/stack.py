"""`ratesflow up` and `down`: the embedded stack in the foreground or on its own, and its end."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from ratesflow.local.processes import StackError, last_lines, python
from ratesflow.local.state_directory import StateDirectory

__all__ = ["StackError", "down", "up"]

# Each part of the stack is waited for as long as it works (startup); this is more than all of them may take.
UP_SECONDS = 3600
SAY_SECONDS = 10
PARTS = {f"ratesflow.{part}" for part in ("local", "local.aws", "local.event_source_mapping", "workflow.console")}
DOWN_SECONDS = 60
STRAY_SECONDS = 10


def up(
    home: Path,
    *,
    api_port: int,
    aws_port: int,
    console_port: int,
    detach: bool,
    tell: Callable[[Mapping[str, str]], None],
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Start a stack, or find it running; `tell` gets its environment when it is up. Port 0 is a free one.

    When that takes long, `say` is told every ten seconds what is waited for.

    With `detach` it goes on by itself after this returns; without, this returns when it is told to end, by
    Ctrl-C or `down`. Raises StackError with words when it cannot start.
    """
    there = StateDirectory(home.resolve())
    if environment := _running(there):
        tell(environment)
        return
    there.prepare()
    command = python("ratesflow.local", "--home", str(there.folder))
    command += ["--api-port", str(api_port), "--aws-port", str(aws_port), "--console-port", str(console_port)]
    log = there.logs / "stack.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    tell(_wait_until_up(there, process, log, say))
    if not detach:
        _stay(process)


def _running(home: StateDirectory) -> dict[str, str] | None:
    """Return the environment of a stack that runs here, or is about to; None if there is none."""
    deadline = time.monotonic() + UP_SECONDS
    while home.pid() is not None and time.monotonic() < deadline:
        if environment := home.environment():
            return environment
        time.sleep(0.1)
    return None


def _wait_until_up(
    home: StateDirectory, process: "subprocess.Popen[bytes]", log: Path, say: Callable[[str], None]
) -> dict[str, str]:
    deadline, due = time.monotonic() + UP_SECONDS, time.monotonic() + SAY_SECONDS
    while time.monotonic() < deadline:
        if time.monotonic() > due:
            due += SAY_SECONDS
            say(f"Waiting for {home.waiting_for() or 'the supervisor'} …")
        if environment := home.environment():
            return environment
        if process.poll() is not None:
            raise StackError(_reason(log))
        time.sleep(0.05)
    process.terminate()
    raise StackError(f"the stack was not up after {UP_SECONDS} seconds. The end of {log}:\n{last_lines(log)}")


def _reason(log: Path) -> str:
    """Return why a stack did not start: its own last message, or the end of its log."""
    lines = last_lines(log, 40).splitlines()
    for at in range(len(lines) - 1, -1, -1):
        if lines[at].startswith("ratesflow: "):
            return "\n".join(lines[at:]).removeprefix("ratesflow: ")
    return f"the stack did not start. The end of {log}:\n" + "\n".join(lines[-15:])


def _stay(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the stack's end, and bring it about on Ctrl-C."""
    try:
        process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGTERM)
        process.wait()


def down(home: Path) -> bool:
    """Stop the stack that runs in a folder, with every process of it; False if none was running.

    Raises StackError if it does not end within a minute.
    """
    there = StateDirectory(home.resolve())
    pid = there.pid()
    if pid is None:
        there.environment_file.unlink(missing_ok=True)
        return _end_strays(there)
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_SECONDS
    while there.pid() is not None:
        if time.monotonic() > deadline:
            raise StackError(f"the stack, process {pid}, did not end; end it with: kill -9 {pid}")
        time.sleep(0.05)
    _end_strays(there)
    return True


def _end_strays(home: StateDirectory) -> bool:
    """End what a stack that was killed left behind: processes that were started for this very folder."""
    strays = [process for process in psutil.process_iter(["cmdline"]) if _belongs(process, home.folder)]
    for process in strays:
        process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + STRAY_SECONDS
    while any(map(_runs, strays)) and time.monotonic() < deadline:
        time.sleep(0.02)
    for process in filter(_runs, strays):
        process.kill()
    return bool(strays)


def _runs(process: psutil.Process) -> bool:
    """Return whether a process is not over; one that nobody has reaped yet is."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _belongs(process: psutil.Process, folder: Path) -> bool:
    command = process.info["cmdline"] or []
    inside = any(part == str(folder) or part.startswith(f"{folder}/") for part in command)
    ours = any(part in PARTS or part.endswith("/postgres") for part in command[:4])
    return inside and ours and process.pid != os.getpid()
