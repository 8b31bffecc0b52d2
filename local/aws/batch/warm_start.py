"""Starts tasks from a warm interpreter: a process that has imported what tasks import, and forks one for each job.

What it buys: half of the time until a small batch is visible (`python -m benchmarks starts`). A file `cold` in the
folder of the embedded AWS (HOME/aws/cold) switches it off from the next job on; then, and for any command that is not a
task's, a job is a new interpreter, as its container is on AWS.

For a debugger, or for a test that ends tasks: while a folder `held` exists there, each task waits before its first line
until its file in that folder, named by its process ID, is deleted.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from setproctitle import setproctitle

from ratesflow.local.parent_death_signal import die_with_parent
from ratesflow.workflow.job_definitions import ENTRY_POINT, TASKS

SWITCH = "cold"
HELD = "held"
# The tasks, and what they import when they first need it.
_PRELOADED = [
    *(f"ratesflow.loader.tasks.{name}" for name in TASKS),
    "obstore.store",
    "ratesflow.loader.batches.results",
    "ratesflow.loader.batches.s3",
    "ratesflow.loader.freight.dataset",
    "ratesflow.loader.freight.recount",
    "ratesflow.loader.freight.validator",
]
_GROUP_SECONDS = 5.0
_HELD_POLL_SECONDS = 0.005
_SERVER_ENDED = 255  # multiprocessing's exit code of a process whose fork server ended, and which that kills
_log = logging.getLogger(__name__)
_context = multiprocessing.get_context("forkserver")
# Starting a process looks at all the others, too, and only one thread may read how a process ended.
_lock = threading.Lock()


class WarmProcess:
    """A task that was forked, with as much of subprocess.Popen as an attempt uses."""

    def __init__(self, process: ForkServerProcess, output: Connection) -> None:
        self._process = process
        self.stdout = output
        self.returncode: int | None = None
        assert process.pid is not None
        self.pid = process.pid

    def poll(self) -> int | None:
        """Return the exit code, or the negative number of the signal that ended it; None while it runs."""
        with _lock:
            if self.returncode is None and (code := self._process.exitcode) is not None:
                self.returncode = -signal.SIGKILL if code == _SERVER_ENDED else code
                self._process.close()  # a job is remembered, and must hold no open file
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; raises subprocess.TimeoutExpired."""
        if self.returncode is None and not wait([self._process.sentinel], timeout):
            raise subprocess.TimeoutExpired("a task", timeout or 0)
        code = self.poll()
        assert code is not None
        return code


def start_warm(command: list[str], environment: Mapping[str, str], data: Path) -> WarmProcess | None:
    """Start a task; None for any other command, with a PYTHONPATH of its own, and when the switch in `data` is off.

    The process leads a session of its own, and dies with this one.
    """
    is_task = command[: len(ENTRY_POINT)] == list(ENTRY_POINT)
    if not is_task or "PYTHONPATH" in environment or (data / SWITCH).exists():
        return None
    output, inlet = _context.Pipe(duplex=False)
    with inlet:
        process = _context.Process(target=_become_task, args=(inlet, command, dict(environment), data / HELD))
        try:
            with _lock:
                _context.set_forkserver_preload(_PRELOADED)
                process.start()
        except (OSError, EOFError) as error:  # the fork server was killed: the next start begins another
            _log.warning("a task starts cold: %s: %s", type(error).__name__, error)
            output.close()
            return None
    _await_session(process)
    return WarmProcess(process, output)


def _await_session(process: ForkServerProcess) -> None:
    """Wait until the process leads its own group, which is what gets signals."""
    assert process.pid is not None
    deadline = time.monotonic() + _GROUP_SECONDS
    try:
        while os.getpgid(process.pid) != process.pid and time.monotonic() < deadline:
            time.sleep(0.001)
    except ProcessLookupError:
        pass  # it has ended


def _become_task(output: Connection, command: list[str], environment: dict[str, str], held: Path) -> None:
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    die_with_parent(signal.SIGKILL, os.getppid())
    for number in (1, 2):
        os.dup2(output.fileno(), number)
    output.close()
    # Among the others is what keeps the fork server alive, which is to end with the embedded AWS, and this with it.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # each line reaches the log as it is written
    setproctitle(" ".join(command))  # first: it looks for its place beside the environment
    _wait_while_held(held, command)
    os.environ.clear()
    os.environ.update(environment)
    module = ENTRY_POINT[-1]
    sys.argv = [module, *command[len(ENTRY_POINT) :]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _wait_while_held(folder: Path, command: list[str]) -> None:
    """Wait until this process's file, which has the command, is deleted; return at once if there is no such folder."""
    file = folder / str(os.getpid())
    begun = file.with_suffix(".begun")
    try:
        begun.write_text("\n".join(command))
        begun.rename(file)  # readers find it whole
    except FileNotFoundError:
        return
    while file.exists():
        time.sleep(_HELD_POLL_SECONDS)
