"""Metrics of a task for CloudWatch: one line at the task's end.

(Amazon CloudWatch User Guide, "Specification: Embedded metric format": a line of JSON in a log becomes metrics.)
Off unless RATESFLOW_METRICS is `true`, to keep logs readable. Every process writes `Seconds`, every shard its own
`Bytes`, and the shard that merges all shards `Rows` and `RejectedRows`.
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
OUTCOME_DIMENSIONS = [["Environment", "Outcome"]]
"""The dimensions of `Batches`, which counts batches by outcome."""
OUTCOMES = ("committed", "rejected", "duplicate", "failed", "undone")
"""The outcomes that it counts."""
COUNTS = {"rows": "Rows", "rejected_rows": "RejectedRows"}
"""The metric of each count in a result."""

# The variable with the time at which the state machine submitted this job. Only a first attempt waited in the queue.
SUBMITTED = "RATESFLOW_SUBMITTED_AT"
_noted: dict[str, float] = {}
_outcomes: dict[str, int] = {}


def enabled() -> bool:
    """Return whether this process writes metrics."""
    return os.environ.get(VARIABLE, "").lower() == "true"


def note(name: str, value: float) -> None:
    """Keep a value for the line at the end; a later value of the same metric replaces it."""
    _noted[name] = value


def note_end(outcome: str, batches: int = 1) -> None:
    """Keep for the line at the end the number of batches with this outcome; a later call replaces it."""
    _outcomes.clear()
    _outcomes[outcome] = batches


def note_uncompacted_batches(connection: "Connection") -> None:
    """Note the number of visible batches, which slow down reads until they are compacted; only if metrics are on."""
    if enabled():
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM visible_batches WHERE batch_no <> 0")
            row = cursor.fetchone()
            assert row is not None
            note("UncompactedBatches", row[0])


def write(task: str, seconds: float, environ: Mapping[str, str] = os.environ) -> None:
    """Write the line, if metrics are on, and clear all values."""
    if enabled():
        sys.stdout.write(json.dumps(line(task, seconds, environ)) + "\n")
        sys.stdout.flush()
    _noted.clear()
    _outcomes.clear()


def line(task: str, seconds: float, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the line for a task that took `seconds`."""
    values = {**_noted, "Seconds": seconds}
    if (wait := _waited(environ, seconds)) is not None:
        values["QueueWaitSeconds"] = wait
    directives = [_directive(DIMENSIONS, values)]
    fields: dict[str, Any] = {"message": "metrics", "Environment": environ.get("RATESFLOW_ENVIRONMENT") or "none"}
    fields |= {"Task": task, **values}
    for outcome, batches in _outcomes.items():
        directives.append(_directive(OUTCOME_DIMENSIONS, {"Batches": batches}))
        fields |= {"Outcome": outcome, "Batches": batches}
    return {"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": directives}, **fields}


def _directive(dimensions: list[list[str]], values: Mapping[str, float]) -> dict[str, Any]:
    metrics = [{"Name": name, "Unit": UNITS[name]} for name in values]
    return {"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": metrics}


def _waited(environ: Mapping[str, str], seconds: float) -> float | None:
    """Return how long the job waited in the queue, None if the time of its submission is unknown."""
    if environ.get("AWS_BATCH_JOB_ATTEMPT", "1") != "1":
        return None
    try:
        submitted = datetime.fromisoformat(environ[SUBMITTED]).timestamp()
    except (KeyError, ValueError):  # a missing metric must not fail the task
        return None
    return round(max(time.time() - seconds - submitted, 0), 3)
