"""A batch in a real bucket, and a real database, as the tasks find them."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg2
import pytest

from ratesflow.loader.batches import byte_ranges, digest
from ratesflow.loader.batches import s3 as objects
from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.files import parquet, read_shard
from ratesflow.loader.runtime.connection import connected
from ratesflow.loader.tasks import copy_rows
from ratesflow.local.deploy import REGION
from ratesflow.local.postgres.server import Postgres
from ratesflow.workflow.client.aws_clients import AwsClients
from tests.fix_database import Database
from tests.loader.task_calls import call_task
from tests.waiting import wait_for

_numbers = itertools.count(1)
PART = 8192


@dataclass(frozen=True)
class TaskHarness:
    """Where a test works: its database, a bucket, and the tasks by name."""

    database: Database
    bucket: str
    aws: AwsClients

    def send(self, data: bytes, key: str = "incoming/prices.csv", batch_id: str = "", force: bool = False) -> Batch:
        """Put a batch into the bucket."""
        metadata = {"ratesflow-force": "true"} if force else {}
        version = self.aws("s3").put_object(Bucket=self.bucket, Key=key, Body=data, Metadata=metadata)["VersionId"]
        return Batch(batch_id or f"batch-{next(_numbers)}", self.bucket, key, version)

    def run(self, task: Callable, batch: Batch):
        """Run a task as its process would, and wait until its session, which may hold locks, has ended."""
        session = 0
        try:
            with connected(task.__name__) as connection:
                session = connection.info.backend_pid
                return call_task(task, connection, batch)
        finally:
            wait_for(lambda: not self.database.query("SELECT FROM pg_stat_activity WHERE pid = %s", session), pause=0)

    def state(self, batch: Batch) -> str:
        """Return the state of a batch in the ledger."""
        return self.database.one("SELECT state FROM batches WHERE batch_id = %s", batch.batch_id)


def make_harness(database: Database, aws: AwsClients, monkeypatch: pytest.MonkeyPatch) -> TaskHarness:
    """Return a harness with a bucket of its own, whose tasks log in as the loader of the shared server."""
    bucket = f"harness-{next(_numbers)}"
    s3 = aws("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    monkeypatch.setenv("DATABASE_URL", database.loader_url)
    monkeypatch.setenv("RATESFLOW_BUCKET", bucket)
    objects.store.cache_clear()
    return TaskHarness(database, bucket, aws)


@pytest.fixture
def harness(database: Database, aws: AwsClients, monkeypatch: pytest.MonkeyPatch) -> TaskHarness:
    """A harness on each version of PostgreSQL."""
    return make_harness(database, aws, monkeypatch)


@pytest.fixture
def harness18(database18: Database, aws: AwsClients, monkeypatch: pytest.MonkeyPatch) -> TaskHarness:
    """A harness on the newest PostgreSQL alone."""
    return make_harness(database18, aws, monkeypatch)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 8 KiB, blocks and buffers of 2 KiB, so that a small file has many."""
    monkeypatch.setattr(copy_rows, "PART_BYTES", PART)
    monkeypatch.setattr(objects, "PART_BYTES", PART)
    monkeypatch.setattr(parquet, "BUFFER_BYTES", PART // 4)
    monkeypatch.setattr(parquet, "BATCH_ROWS", 500)
    for module in (objects, read_shard):
        monkeypatch.setattr(module, "BLOCK_BYTES", PART // 4)
    monkeypatch.setattr(byte_ranges.shard_range, "__defaults__", (PART,))
    monkeypatch.setattr(digest.PartDigests.__init__, "__defaults__", (PART,))


@pytest.fixture(scope="module", params=[pytest.param(16, id="pg16"), pytest.param(18, id="pg18")])
def connection(request: pytest.FixtureRequest, servers: Callable[[int], Postgres]) -> Iterator[Any]:
    """A connection to an empty database of each version of PostgreSQL, for what leaves nothing behind."""
    connection = psycopg2.connect(servers(request.param).url())
    yield connection
    connection.close()
