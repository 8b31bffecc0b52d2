"""Tells CloudWatch what a task did, with one line at the task's end.

(Amazon CloudWatch User Guide, "Specification: Embedded metric format": a line of JSON in a log becomes metrics.)
Off unless RATESFLOW_METRICS is `true`, so that a person who reads the logs is not shown them. `Seconds` is
written by every process, `Rows` and `RejectedRows` by the one shard that merged all, `Bytes` by each for its own.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

    from ratesflow.loader.batches.results import Result

VARIABLE = "RATESFLOW_METRICS"
NAMESPACE = "ratesflow"
UNITS = {
    "Rows": "Count",
    "Bytes": "Bytes",
    "Seconds": "Seconds",
    "QueueWaitSeconds": "Seconds",
    "RejectedRows": "Count",
    "CommitMilliseconds": "Milliseconds",
    "UncompactedBatches": "Count",
    "Backlog": "Count",
    "Batches": "Count",
}
"""Every metric that a task writes, and its unit."""
DIMENSIONS = [["Environment"], ["Environment", "Task"]]
ENDS_DIMENSIONS = [["Environment", "Outcome"]]
"""Of `Batches`, which counts the ends of batches: committed, rejected, duplicate, failed or undone."""

# When the state was entered that submitted this job; an attempt after the first one has waited for no place.
SUBMITTED = "RATESFLOW_SUBMITTED_AT"
_ENDS = {
    "validate": {"rejected": "rejected", "duplicate": "duplicate"},
    "commit": {"committed": "committed", "duplicate": "duplicate"},
    "discard": {"discarded": "failed"},
    "gc": {"done": "failed"},
    "undo": {"undone": "undone"},
}
_noted: dict[str, float] = {}


def switched_on() -> bool:
    """Tell whether this process writes metrics."""
    return os.environ.get(VARIABLE, "").lower() == "true"


def note(name: str, value: float) -> None:
    """Keep a value for the line at the end; the last one counts."""
    _noted[name] = value


def note_open_batches(connection: "Connection") -> None:
    """Count the batches whose rates wait to be merged, which is what slows reads down, if anybody wants to know."""
    if switched_on():
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM visible_batches WHERE batch_no <> 0")
            row = cursor.fetchone()
            assert row is not None
            note("UncompactedBatches", row[0])


def write(task: str, seconds: float, result: "Result | None", environ: Mapping[str, str] = os.environ) -> None:
    """Write the line, if it is wanted. `result` is None when other shards are still at work."""
    if switched_on():
        sys.stdout.write(json.dumps(line(task, seconds, result, environ)) + "\n")
        sys.stdout.flush()
    _noted.clear()


def line(task: str, seconds: float, result: "Result | None", environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the line for a task that took so many seconds."""
    values = {**_noted, "Seconds": seconds}
    if (wait := _waited(environ, seconds)) is not None:
        values["QueueWaitSeconds"] = wait
    if result and result.rows is not None and task in ("validate", "load", "commit"):
        values["Rows"] = result.rows
    if result and result.rejected_rows is not None and task == "validate":
        values["RejectedRows"] = result.rejected_rows
    told = [_directive(DIMENSIONS, values)]
    fields: dict[str, Any] = {"message": "metrics", "Environment": environ.get("RATESFLOW_ENVIRONMENT") or "none"}
    fields |= {"Task": task, **values}
    if result and (end := _ENDS.get(task, {}).get(result.outcome)):
        batches = result.rows or 0 if task == "gc" else 1  # gc says how many it closed
        told.append(_directive(ENDS_DIMENSIONS, {"Batches": batches}))
        fields |= {"Outcome": end, "Batches": batches}
    return {"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": told}, **fields}


def _directive(dimensions: list[list[str]], values: Mapping[str, float]) -> dict[str, Any]:
    metrics = [{"Name": name, "Unit": UNITS[name]} for name in values]
    return {"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": metrics}


def _waited(environ: Mapping[str, str], seconds: float) -> float | None:
    """Return how long the job waited for a place to run, None if nobody told when it was submitted."""
    if environ.get("AWS_BATCH_JOB_ATTEMPT", "1") != "1":
        return None
    try:
        submitted = datetime.fromisoformat(environ[SUBMITTED]).timestamp()
    except (KeyError, ValueError):  # a measurement is no reason for a task to fail
        return None
    return round(max(time.time() - seconds - submitted, 0), 3)
