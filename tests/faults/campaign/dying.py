"""Runs a task in a process of its own that dies, or stands still, at one of its points between two statements."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil

from ratesflow.loader.runtime import fault_injection
from ratesflow.loader.runtime.connection import connected
from ratesflow.loader.runtime.errors import TaskError
from tests.faults.campaign.low_limits import shrink_modules
from tests.loader.task_calls import call_task

REFUSED = 1
_MODULES = [
    f"ratesflow.loader.tasks.{name}" for name in ("validate", "load", "commit", "discard", "undo", "compact", "gc")
]
_MODULES += [
    "ratesflow.loader.freight.validator",
    "ratesflow.loader.freight.recount",
    "tests.faults.campaign.low_limits",
]


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
    # What the S3 client has running beside Python would not survive a fork.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_MODULES)
    environment = {**os.environ, fault_injection.VARIABLE: fault}
    process = context.Process(target=_run, args=(environment, small, task, *arguments))
    process.start()
    return process


def _ended(process: Any, task: Callable[..., Any]) -> int:
    process.join(60)
    assert process.exitcode in (-signal.SIGKILL, 0, REFUSED), f"{task.__name__} ended with {process.exitcode}"
    return int(process.exitcode)


def _run(environment: dict[str, str], small: bool, task: Callable[..., Any], *arguments: Any) -> None:
    os.environ.update(environment)
    if small:
        shrink_modules()
    try:
        with connected(task.__name__) as connection:
            call_task(task, connection, *arguments)
    except TaskError:
        sys.exit(REFUSED)
