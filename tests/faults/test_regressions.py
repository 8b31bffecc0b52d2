"""Regression tests for defects that the campaigns found."""

import io
import json
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg2
import pyarrow as pa
import pyarrow.parquet
import pytest

from ratesflow.database.reference import builtin
from ratesflow.loader.files.read_shard import read_shard
from ratesflow.loader.files.report import ReportWriter, merged
from ratesflow.loader.freight.dataset import FreightPrices
from ratesflow.loader.freight.schema import ROWS
from ratesflow.loader.freight.validator import PriceValidator
from ratesflow.loader.runtime.connection import connected
from ratesflow.loader.tasks.commit import commit
from ratesflow.loader.tasks.compact import compact
from ratesflow.loader.tasks.discard import discard
from ratesflow.loader.tasks.gc import gc
from ratesflow.loader.tasks.load import load
from ratesflow.loader.tasks.undo import undo
from ratesflow.loader.tasks.validate import validate
from tests.api.service import Service
from tests.faults.campaign.actions import move_tree
from tests.faults.campaign.contents import PORTS as PORTS_WITH_PRICES
from tests.faults.campaign.contents import Content
from tests.faults.campaign.interrupted_tasks import run_until_killed
from tests.faults.model.tree_changes import change
from tests.faults.readers.snapshots import RATES
from tests.fix_database import Database
from tests.loader.conftest import TaskHarness
from tests.loader.reading_files import PORTS, fetch_from
from tests.loader.samples import csv, rows
from tests.local.conftest import Stack
from tests.waiting import wait_for


def part(stack: Stack, module: str) -> psutil.Process | None:
    """Return a process of a stack by its module."""
    supervisor = psutil.Process(int((stack.home / "stack.pid").read_text()))
    with suppress(psutil.Error):
        for process in supervisor.children():
            with suppress(psutil.Error):
                if process.cmdline()[1:4] == ["-P", "-m", module]:
                    return process
    return None


def test_stack_survives_kills_during_its_recovery(own_stack: Stack, tmp_path: Path) -> None:
    """The stack stays up even if the embedded AWS and the database are killed again during the recovery."""
    own_stack.up()
    for number in range(4):
        before = wait_for(lambda: part(own_stack, "ratesflow.local.aws"))
        before.kill()
        wait_for(lambda before=before: (found := part(own_stack, "ratesflow.local.aws")) and found.pid != before.pid)
        if number % 2:
            with suppress(OSError, ValueError):
                os.kill(int((own_stack.home / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    path = tmp_path / "after.csv"
    path.write_bytes(csv(rows(200, seed=24)))

    def works() -> bool:
        with suppress(psycopg2.Error):
            return own_stack.run("ingest", str(path), code=None).returncode in (0, 4)
        return False

    wait_for(works)
    assert own_stack.query("SELECT count(*) FROM committed_prices") == [(200,)]


def test_batch_closed_by_a_killed_gc_is_notified(harness18: TaskHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """If gc is killed at any fault point, the next gc notifies about the closed batch, always with the same id."""
    notification_ids = subscribe(harness18, monkeypatch)
    closed = 0
    for point in range(1, 60):
        batch = harness18.send(csv(rows(20, seed=point)), key=f"incoming/{point}.csv")
        harness18.run(validate, batch)
        killed = run_until_killed(point, gc, "run", harness18.bucket, batch.batch_id)
        closed += harness18.state(batch) == "failed"
        with connected("gc") as connection:
            gc(connection, "run", harness18.bucket, batch.batch_id, dataset=FreightPrices())
        assert harness18.state(batch) == "failed"
        assert set(notification_ids(batch.batch_id)) == {f"{batch.batch_id}:failed"}, f"killed at point {point}"
        if not killed:
            break
    assert closed > 2


def subscribe(harness: TaskHarness, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Set the tasks' topic; return a function that returns the notification ids of a batch."""
    sns, sqs = harness.aws("sns"), harness.aws("sqs")
    topic = sns.create_topic(Name=f"notified-{harness.bucket}")["TopicArn"]
    queue = sqs.create_queue(QueueName=f"notified-{harness.bucket}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    monkeypatch.setenv("RATESFLOW_TOPIC_ARN", topic)
    messages: list[dict[str, str]] = []

    def notification_ids(batch_id: str) -> list[str]:
        while found := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                messages.append(json.loads(json.loads(message["Body"])["Message"]))
        return [each["notification_id"] for each in messages if each["batch_id"] == batch_id]

    return notification_ids


def test_rejection_message_has_no_control_characters() -> None:
    """The message about a Parquet file with control characters in a column name is printable."""
    sink = io.BytesIO()
    pa.parquet.write_table(pa.table({"\x1b[2J\x9b\n\u202e": [1]}), sink)
    with ReportWriter(ROWS) as writer:
        read_shard(fetch_from(sink.getvalue()), len(sink.getvalue()), PriceValidator(PORTS), writer)
        report = merged([writer.finish()], ROWS)
    assert report.errors[0]["reason"] == "wrong_header"
    assert report.errors[0]["message"].isprintable()
    assert report.summary.isprintable()


def test_discard_after_undo_deletes_nothing(harness18: TaskHarness) -> None:
    """Discard keeps the rates of an undone batch, which its negative rates cancel out."""
    content = Content(1, rows=60)
    batch = harness18.send(content.data)
    for task in (validate, load, commit):
        harness18.run(task, batch)
    with connected("undo") as connection:
        undo(connection, "run", batch.batch_id, FreightPrices())
    assert harness18.run(discard, batch).outcome == "undone"
    assert harness18.database.query(RATES) == []
    with connected("compact") as connection:
        compact(connection, "run", dataset=FreightPrices())
    assert harness18.database.query(RATES) == []
    assert harness18.database.one("SELECT count(*) FROM rates") == 0


def test_gc_drops_hidden_rates_of_a_killed_tree_change(harness18: TaskHarness) -> None:
    """gc drops the rates that a killed change of reference data wrote, and readers see the unchanged tree."""
    batch = harness18.send(Content(1, rows=60).data)
    for task in (validate, load, commit):
        harness18.run(task, batch)
    before = harness18.database.query(RATES)
    hidden = "SELECT count(*) FROM rates WHERE batch_no NOT IN (SELECT batch_no FROM visible_batches)"
    file = change(random.Random(2), builtin(), PORTS_WITH_PRICES, "ports")
    point = 11
    while not harness18.database.one(hidden):
        assert run_until_killed(point, move_tree, file), (
            "the task ended without being killed between its two transactions"
        )
        point += 2
    with connected("gc") as connection:
        gc(connection, "run", harness18.bucket, dataset=FreightPrices())
    assert harness18.database.one(hidden) == 0
    assert harness18.database.query("SELECT FROM changes WHERE version IS NULL") == []
    assert sorted(harness18.database.query(RATES)) == sorted(before)


def test_api_survives_workers_killed_during_their_replacement(database18: Database) -> None:
    """If every worker of the API is killed during a deployment, the service continues with new workers."""
    service = Service(database18.reader_url)
    service.start()
    assert service.process is not None
    try:
        old = service.worker_pids()
        service.process.send_signal(signal.SIGHUP)
        wait_for(lambda: set(service.worker_pids()) - set(old))
        time.sleep(0.3)  # the first new worker is starting while the old ones still run
        for pid in old:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(service.worker_pids()) == 2 and not set(old) & set(service.worker_pids()))
        assert service.get("/health/live").status_code == 200
        time.sleep(1)
        assert service.process.poll() is None
    finally:
        remaining = service.worker_pids() if service.process.poll() is None else []
        service.process.kill()
        for pid in remaining:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        service.process.communicate()
