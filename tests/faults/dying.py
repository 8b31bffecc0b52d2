"""Runs a task in a process of its own that dies at one of the task's points between two statements."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from loader import faults
from loader.database import connected
from loader.errors import TaskError
from tests.faults.small import shrink_modules

REFUSED = 1
_MODULES = [f"loader.{name}" for name in ("validate", "load", "commit", "discard", "undo", "compact", "gc")]
_MODULES += ["tests.faults.small"]


def run_until(point: int, task: Callable[..., Any], *arguments: Any, small: bool = False) -> bool:
    """Run a task that dies at its point number `point`, from 1; tell whether it did, and not end before.

    With `small` it has the same low limits as a process of a model.
    """
    # What the S3 client has running beside Python would not survive a fork.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_MODULES)
    environment = {**os.environ, faults.VARIABLE: f"die:{point}"}
    process = context.Process(target=_run, args=(environment, small, task, *arguments))
    process.start()
    process.join(60)
    assert process.exitcode in (-signal.SIGKILL, 0, REFUSED), f"{task.__name__} ended with {process.exitcode}"
    return process.exitcode == -signal.SIGKILL


def _run(environment: dict[str, str], small: bool, task: Callable[..., Any], *arguments: Any) -> None:
    os.environ.update(environment)
    if small:
        shrink_modules()
    try:
        with connected(task.__name__) as connection:
            task(connection, *arguments)
    except TaskError:
        sys.exit(REFUSED)
