"""Runs tasks in processes that are killed or suspended at a fault point: a point between two statements."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil

from tests.faults.campaign.low_limits import shrink_modules
from tests.loader.task_process import REJECTED, start_task


def run_until_killed(point: int, task: Callable[..., Any], *arguments: Any, low_limits: bool = False) -> bool:
    """Run a task that is killed at a fault point, counted from 1; return whether it was, and did not end before it.

    With `low_limits`, the task has the same limits as the model.
    """
    process = _start(f"die:{point}", low_limits, task, *arguments)
    return _exit_code(process, task) == -signal.SIGKILL


@contextmanager
def suspended(point: int, task: Callable[..., Any], *arguments: Any) -> Iterator[bool]:
    """Suspend a task at a fault point until the block ends; yield whether it is suspended, and did not end before."""
    process = _start(f"wait:{point}", True, task, *arguments)
    try:
        while process.exitcode is None and not _is_suspended(process.pid):
            time.sleep(0.005)
        yield process.exitcode is None
    finally:
        with suppress(psutil.NoSuchProcess):
            if process.exitcode is None:
                psutil.Process(process.pid).resume()
        _exit_code(process, task)


def _is_suspended(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):  # it has ended
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    return False


def _start(fault: str, low_limits: bool, task: Callable[..., Any], *arguments: Any) -> Any:
    return start_task(fault, task, *arguments, prepare=shrink_modules if low_limits else None)


def _exit_code(process: Any, task: Callable[..., Any]) -> int:
    process.join(60)
    assert process.exitcode in (-signal.SIGKILL, 0, REJECTED), f"{task.__name__} ended with {process.exitcode}"
    return int(process.exitcode)
