"""Runs a task in a process of its own that dies, or stands still, at one of its points between two statements."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil

from tests.faults.campaign.low_limits import shrink_modules
from tests.loader.task_process import REJECTED, start_task


def run_until(point: int, task: Callable[..., Any], *arguments: Any, small: bool = False) -> bool:
    """Run a task that dies at its point number `point`, from 1; tell whether it did, and not end before.

    With `small` it has the same low limits as a process of a model.
    """
    process = _started(f"die:{point}", small, task, *arguments)
    return _ended(process, task) == -signal.SIGKILL


@contextmanager
def standing(point: int, task: Callable[..., Any], *arguments: Any) -> Iterator[bool]:
    """Let a task stand still at its point number `point` while the block runs; give whether it does, or has ended."""
    process = _started(f"wait:{point}", True, task, *arguments)
    try:
        while process.exitcode is None and not _stands(process.pid):
            time.sleep(0.005)
        yield process.exitcode is None
    finally:
        with suppress(psutil.NoSuchProcess):
            if process.exitcode is None:
                psutil.Process(process.pid).resume()
        _ended(process, task)


def _stands(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):  # it ended, which is seen a moment later
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    return False


def _started(fault: str, small: bool, task: Callable[..., Any], *arguments: Any) -> Any:
    return start_task(fault, task, *arguments, prepare=shrink_modules if small else None)


def _ended(process: Any, task: Callable[..., Any]) -> int:
    process.join(60)
    assert process.exitcode in (-signal.SIGKILL, 0, REJECTED), f"{task.__name__} ended with {process.exitcode}"
    return int(process.exitcode)
