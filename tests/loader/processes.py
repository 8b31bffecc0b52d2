"""Tasks as processes of their own, which a test holds in the middle of a statement and ends."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.fix_database import Database

# What a module of the loader is given before the task begins, as `module.name = value`.
_RUN = (
    "import runpy; from ratesflow.loader.batches import byte_ranges, digest, s3;"
    "from ratesflow.loader.tasks import copy_rows; {}; runpy.run_module('ratesflow.loader', run_name='__main__')"
)


def start(task: str, *arguments: str, patches: str = "pass", **environment: str) -> "subprocess.Popen[str]":
    """Start `python -m ratesflow.loader TASK …` with the test's environment and more."""
    code = _RUN.format(patches)
    return subprocess.Popen(
        [sys.executable, "-c", code, task, *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Wait for a task; return its exit code and what it wrote."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out + err


def sessions(database: Database, task: str) -> list[tuple[Any, ...]]:
    """Return what each session of a task waits for."""
    return database.query(
        "SELECT wait_event_type, wait_event, query FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name ~ %s",
        f"^ratesflow-{task}(:|$)",
    )


def wait_until(happens: Callable[[], Any], seconds: float, what: Callable[[], Any] = lambda: None) -> None:
    """Wait for something; fail when it has not happened after so many seconds."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, f"it did not happen within {seconds} s: {what()}"
        time.sleep(0.02)
