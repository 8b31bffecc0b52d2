"""Readers on a streaming hot standby, where those of the API live, see whole batches only, and none fails."""

import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from ratesflow.database.sqlstates import Kind, kind_of
from ratesflow.loader.freight.dataset import FreightPrices
from ratesflow.loader.runtime.connection import connected
from ratesflow.loader.tasks.commit import commit
from ratesflow.loader.tasks.compact import compact
from ratesflow.loader.tasks.load import load
from ratesflow.loader.tasks.undo import undo
from ratesflow.loader.tasks.validate import validate
from ratesflow.local.postgres.server import POSTGRES_VERSIONS, VERSION, Postgres, start_postgres
from ratesflow.local.processes import free_port, identity
from tests.fix_database import PASSWORD
from tests.loader.conftest import TaskHarness
from tests.loader.samples import csv, rows
from tests.loader.tasks.test_concurrency import TOTAL

ROWS = 400


@pytest.fixture
def standby(servers: Callable[[int], Postgres]) -> Iterator[Postgres]:
    """A hot standby of the newest server, streaming from it."""
    primary = servers(VERSION)
    folder = Path(tempfile.mkdtemp(prefix="ratesflow-standby-"))
    data = folder / "data"
    owner = primary.data.owner()
    if os.geteuid() == 0:
        shutil.chown(folder, owner)
    command = [str(POSTGRES_VERSIONS[VERSION] / "pg_basebackup"), "--pgdata", str(data), "--write-recovery-conf"]
    command += ["--dbname", primary.superuser_url(), "--checkpoint", "fast", "--wal-method", "stream"]
    subprocess.run(command, check=True, cwd="/", **identity(owner if os.geteuid() == 0 else None))
    settings = {**primary.settings, "hot_standby": "on"}
    server = start_postgres(data, free_port(), PASSWORD, folder / "log", version=VERSION, settings=settings)
    yield server
    server.stop()
    shutil.rmtree(folder)


class StandbyReader(threading.Thread):
    """Sums up everything all the time; a query that replay cancelled is asked once more, as the API does."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url, self.seen, self.failures = url, set(), []
        self.stop = threading.Event()

    def run(self) -> None:
        """Read until the stop event is set."""
        connection = psycopg2.connect(self.url)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                while not self.stop.is_set():
                    try:
                        cursor.execute(TOTAL)
                    except psycopg2.Error as error:
                        if kind_of(error) is not Kind.RETRY:
                            raise
                        cursor.execute(TOTAL)
                    self.seen.add(cursor.fetchone()[0])
        except psycopg2.Error as error:
            self.failures.append(error)
        finally:
            connection.close()


def test_a_standby_shows_whole_batches_through_commit_compaction_and_undo(
    harness18: TaskHarness, standby: Postgres
) -> None:
    """Every sum that a reader of the standby sees is one of whole batches, and the last one arrives there."""
    url = standby.url("api", PASSWORD, harness18.database.name)
    reader = StandbyReader(url)
    reader.start()
    batches = []
    for number in range(4):
        batch = harness18.send(csv(rows(ROWS, seed=700 + number)), key=f"incoming/{number}.csv")
        for task in (validate, load, commit):
            harness18.run(task, batch)
        batches.append(replace(batch))
        with connected("compact") as connection:
            compact(connection, "run", dataset=FreightPrices())
    with connected("undo") as connection:
        undo(connection, "run", batches[1].batch_id, FreightPrices())
        compact(connection, "run", dataset=FreightPrices())
    deadline = time.monotonic() + 30
    while _total(url) != 3 * ROWS and time.monotonic() < deadline:
        time.sleep(0.1)
    reader.stop.set()
    reader.join()
    assert reader.failures == []
    assert all(total % ROWS == 0 for total in reader.seen)
    assert _total(url) == 3 * ROWS


def _total(url: str) -> int:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(TOTAL)
        (total,) = cursor.fetchone()
    connection.close()
    return total
