"""Runs a task in a process of its own, with a fault at one of its points."""

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

from ratesflow.loader.runtime import fault_injection
from ratesflow.loader.runtime.connection import connected
from ratesflow.loader.runtime.errors import TaskError
from ratesflow.loader.tasks.registry import task_names
from tests.loader.task_calls import call_task

REJECTED = 1
# What a task imports, or first needs: once in the fork server, not in each process. Python starts one server a
# process, with the list that it is given first, and passes over a name that does not exist.
PRELOADED = (
    *(f"ratesflow.loader.tasks.{name}" for name in task_names()),
    "ratesflow.loader.freight.validator",
    "ratesflow.loader.freight.rates_digest",
    "ratesflow.loader.freight.recount",
    "tests.faults.campaign.low_limits",
    "tests.loader.conftest",
)


def start_task(
    fault: str, task: Callable[..., Any], *arguments: Any, prepare: Callable[[], None] | None = None
) -> BaseProcess:
    """Start a task with a fault, such as `die:3`; `prepare` is called in its process first.

    The exit code is 0, REJECTED after a TaskError, or that of a signal.
    """
    # The threads of the S3 client would not survive a fork of this process.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    environment = {**os.environ, fault_injection.VARIABLE: fault}
    process = context.Process(target=_run, args=(environment, prepare, task, *arguments))
    process.start()
    return process


def _run(
    environment: dict[str, str], prepare: Callable[[], None] | None, task: Callable[..., Any], *arguments: Any
) -> None:
    os.environ.update(environment)
    if prepare:
        prepare()
    try:
        with connected(task.__name__) as connection:
            call_task(task, connection, *arguments)
    except TaskError:
        sys.exit(REJECTED)
