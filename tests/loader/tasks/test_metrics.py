"""The line of metrics that each task writes at its end, from real tasks as processes."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from ratesflow.loader.batches.batch import PART_BYTES, Batch
from ratesflow.loader.runtime import metrics
from tests.loader.conftest import TaskHarness
from tests.loader.samples import csv, rows


def run(task: str, *arguments: str, code: int = 0, **environ: str) -> list[dict[str, Any]]:
    """Run a task as Batch does, and return the lines that it wrote."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ratesflow.loader", task, *arguments],
        capture_output=True, text=True, timeout=60, env=os.environ | environ,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def on_batch(task: str, batch: Batch, shards: int = 1, **environ: str) -> dict[str, Any]:
    """Run a task on a batch with metrics switched on, and return its line of them, which is the last one."""
    named = ("--bucket", batch.bucket, "--key", batch.key, "--version", batch.version, "--batch-id", batch.batch_id)
    on = {metrics.VARIABLE: "true", "RATESFLOW_ENVIRONMENT": "testing"}
    lines = run(task, *named, "--shards", str(shards), **on, **environ)
    assert ["_aws" in line for line in lines].count(True) == 1
    return lines[-1]


def values(line: dict[str, Any]) -> dict[tuple[str, ...], dict[str, float]]:
    """Return what CloudWatch makes of a line: for each set of dimensions the metrics and their values."""
    assert abs(line["_aws"]["Timestamp"] - time.time() * 1000) < 60_000
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for directive in line["_aws"]["CloudWatchMetrics"]:
        assert directive["Namespace"] == "ratesflow"
        for dimensions in directive["Dimensions"]:
            named = found.setdefault(tuple(line[name] for name in dimensions), {})
            for metric in directive["Metrics"]:
                assert metric["Unit"] == metrics.UNITS[metric["Name"]]
                named[metric["Name"]] = line[metric["Name"]]
    return found


def test_a_batch_is_counted_in_each_task(harness18: TaskHarness) -> None:
    """Tasks report rows, bytes and seconds; commit also its time, the visible batches and the outcome."""
    data = csv(rows(300))
    batch = harness18.send(data)
    validated = values(on_batch("validate", batch))
    assert set(validated) == {("testing",), ("testing", "validate")}
    assert validated["testing",] == validated["testing", "validate"]
    assert validated["testing",].keys() == {"Rows", "Bytes", "Seconds", "RejectedRows"}
    assert [validated["testing",][name] for name in ("Rows", "Bytes", "RejectedRows")] == [300, len(data), 0]
    loaded = values(on_batch("load", batch))["testing", "load"]
    assert (loaded["Rows"], loaded["Bytes"], loaded.keys()) == (300, len(data), {"Rows", "Bytes", "Seconds"})
    committed = values(on_batch("commit", batch))
    assert committed["testing", "commit"].keys() == {"Rows", "Seconds", "CommitMilliseconds", "UncompactedBatches"}
    assert 0 < committed["testing",]["CommitMilliseconds"] < 1000 * committed["testing",]["Seconds"]
    assert committed["testing",]["UncompactedBatches"] == 1
    assert committed["testing", "committed"] == {"Batches": 1}
    compacted = values(run("compact", "--run-id", "compact-1", RATESFLOW_METRICS="true")[-1])
    assert compacted["none", "compact"].keys() == {"Seconds", "UncompactedBatches", "Backlog"}
    assert compacted["none",]["UncompactedBatches"] == 0


def test_each_other_end_is_counted(harness18: TaskHarness) -> None:
    """A rejected, a duplicate, a discarded and an undone batch are each counted once, by outcome."""
    bad = harness18.send(b"orig_code,dest_code,day,price\nCNSHA,NLRTM,2021-01-01,-1\n")
    line = values(on_batch("validate", bad))
    assert line["testing", "rejected"] == {"Batches": 1}
    assert (line["testing", "validate"]["Rows"], line["testing", "validate"]["RejectedRows"]) == (1, 1)
    data = csv(rows(20))
    good, again, given_up = harness18.send(data), harness18.send(data), harness18.send(csv(rows(20, seed=2)))
    for task in ("validate", "load", "commit"):
        on_batch(task, good)
    assert values(on_batch("validate", again))["testing", "duplicate"] == {"Batches": 1}
    assert ("testing", "failed") not in values(on_batch("validate", given_up))
    assert values(on_batch("discard", given_up))["testing", "failed"] == {"Batches": 1}
    undone = run("undo", "--run-id", "undo-1", "--batch", good.batch_id, RATESFLOW_METRICS="true")[-1]
    assert values(undone)["none", "undone"] == {"Batches": 1}
    abandoned = harness18.send(csv(rows(20, seed=3)))
    on_batch("validate", abandoned)
    closed = run("gc", "--run-id", "gc-1", "--batch", abandoned.batch_id, RATESFLOW_METRICS="true")[-1]
    assert values(closed)["none", "failed"] == {"Batches": 1}


def test_shards_count_each_byte_and_row_once(harness18: TaskHarness) -> None:
    """Each shard reports its own bytes and seconds; the one that merges them reports the rows of all."""
    data = csv(rows(2_000) * 170)
    batch, shards = harness18.send(data), 2
    assert len(data) > PART_BYTES
    for task in ("validate", "load"):
        shard_lines = [
            values(on_batch(task, batch, shards, AWS_BATCH_JOB_ARRAY_INDEX=str(index)))["testing", task]
            for index in range(shards)
        ]
        assert [line["Bytes"] for line in shard_lines] == [PART_BYTES, len(data) - PART_BYTES]
        assert ["Rows" in line for line in shard_lines] == [False, True]
        assert shard_lines[1]["Rows"] == 340_000


def test_the_wait_in_the_queue_is_reported_if_it_is_known(harness18: TaskHarness) -> None:
    """The wait is from submission to the start of the first attempt; an unreadable time is omitted."""
    batch = harness18.send(csv(rows(20)))
    a_minute_ago = (datetime.now(UTC) - timedelta(seconds=60)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for attempt, submitted, known in (("1", a_minute_ago, True), ("2", a_minute_ago, False), ("1", "then", False)):
        line = on_batch("validate", batch, AWS_BATCH_JOB_ATTEMPT=attempt, RATESFLOW_SUBMITTED_AT=submitted)
        waited = values(line)["testing", "validate"].get("QueueWaitSeconds")
        assert 60 <= waited < 90 if known else waited is None


def test_logs_stay_readable_unless_metrics_are_wanted(harness18: TaskHarness) -> None:
    """Without RATESFLOW_METRICS=true there is no such line."""
    batch = harness18.send(csv(rows(20)))
    named = ("--bucket", batch.bucket, "--key", batch.key, "--version", batch.version, "--batch-id", batch.batch_id)
    for environ in ({}, {metrics.VARIABLE: "false"}, {metrics.VARIABLE: ""}):
        assert not any("_aws" in line for line in run("validate", *named, **environ))


def test_a_task_that_fails_counts_nothing(harness18: TaskHarness) -> None:
    """A task that fails writes no metrics, since the next attempt would count again."""
    batch = harness18.send(csv(rows(20)))
    named = ("--bucket", batch.bucket, "--key", batch.key, "--version", batch.version, "--batch-id", batch.batch_id)
    assert not any("_aws" in line for line in run("load", *named, code=65, RATESFLOW_METRICS="true"))
