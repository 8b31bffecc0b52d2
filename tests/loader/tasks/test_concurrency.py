"""Many tasks at once: no deadlock, no half batch, nothing counted twice."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ratesflow.loader.batches import s3
from ratesflow.loader.batches.ledger import require_open
from ratesflow.loader.batches.shards import ClaimedShard
from ratesflow.loader.freight.dataset import FreightPrices
from ratesflow.loader.runtime.connection import connected
from ratesflow.loader.runtime.errors import ClosedError, TransientError
from ratesflow.loader.tasks.commit import commit
from ratesflow.loader.tasks.compact import compact
from ratesflow.loader.tasks.discard import discard
from ratesflow.loader.tasks.load import load
from ratesflow.loader.tasks.undo import undo
from ratesflow.loader.tasks.validate import validate
from tests.loader.conftest import TaskHarness
from tests.loader.samples import csv, rows

BATCHES, ROWS = 20, 300
# One statement, so one snapshot: what the readers' version of the data holds.
TOTAL = """
SELECT coalesce(sum(total), 0)::bigint FROM (
    SELECT (SELECT sum(count) FROM unnest(counts) AS count) AS total FROM rates
    WHERE orig_code IN (SELECT code FROM ports) AND batch_no IN (SELECT batch_no FROM visible_batches)
) AS lanes
"""


class Readers:
    """Threads that sum up everything all the time, and keep every sum that they saw."""

    def __init__(self, harness: TaskHarness) -> None:
        self.seen: set[int] = set()
        self.failures: list[Exception] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._read, args=(harness,)) for _ in range(2)]

    def __enter__(self) -> "Readers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _read(self, harness: TaskHarness) -> None:
        connection = harness.database.connect(harness.database.reader_url)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                while not self._stop.is_set():
                    cursor.execute(TOTAL)
                    self.seen.add(cursor.fetchone()[0])
        except Exception as error:  # noqa: BLE001 any failure of a reader is one too many
            self.failures.append(error)
        finally:
            connection.close()


def test_twenty_batches_at_once_all_commit(harness: TaskHarness) -> None:
    """Twenty batches are loaded in parallel; readers see only whole batches at any moment."""
    batches = [harness.send(csv(rows(ROWS, seed=number)), key=f"incoming/{number}.csv") for number in range(BATCHES)]

    def whole(batch: object) -> str:
        return [harness.run(task, batch).outcome for task in (validate, load, commit)][-1]

    with Readers(harness) as readers, ThreadPoolExecutor(BATCHES) as pool:
        assert list(pool.map(whole, batches)) == ["committed"] * BATCHES
    assert readers.failures == []
    assert all(total % ROWS == 0 for total in readers.seen)
    assert harness.database.one(TOTAL) == BATCHES * ROWS
    assert harness.database.one("SELECT version FROM data_version") == BATCHES + 1  # one for the reference data


def test_commits_undos_and_compactions_at_once(harness: TaskHarness) -> None:
    """While batches commit, others are undone and all are compacted repeatedly; every sum is of whole batches."""
    first = [harness.send(csv(rows(ROWS, seed=100 + number)), key=f"incoming/{number}.csv") for number in range(8)]
    for batch in first:
        for task in (validate, load, commit):
            harness.run(task, batch)
    second = [harness.send(csv(rows(ROWS, seed=200 + number)), key=f"incoming/b{number}.csv") for number in range(8)]
    for batch in second:
        for task in (validate, load):
            harness.run(task, batch)

    def take_out(batch) -> None:
        with connected("undo") as connection:
            undo(connection, "run", batch.batch_id, FreightPrices())

    def merge(_: int) -> None:
        with connected("compact") as connection:
            compact(connection, "run", dataset=FreightPrices())

    with Readers(harness) as readers, ThreadPoolExecutor(8) as pool:
        work = [pool.submit(harness.run, commit, batch) for batch in second]
        work += [pool.submit(merge, number) for number in range(3)]
        work += [pool.submit(take_out, batch) for batch in first]
        work += [pool.submit(merge, number) for number in range(3)]
        for each in work:
            each.result()
    assert readers.failures == []
    assert all(total % ROWS == 0 for total in readers.seen)
    merge(0)
    assert harness.database.one(TOTAL) == 8 * ROWS
    expected = sorted(price for number in range(8) for price in rows(ROWS, seed=200 + number))
    assert harness.database.query(
        "SELECT orig_code, dest_code, day, price FROM committed_prices ORDER BY 1, 2, 3, 4"
    ) == sorted(expected)


@pytest.mark.parametrize("round_", range(4))
def test_a_commit_that_races_a_discard_has_one_winner(harness18: TaskHarness, round_: int) -> None:
    """Either the batch is committed and discard reports it, or it is discarded and commit fails."""
    batch = harness18.send(csv(rows(ROWS, seed=300 + round_)))
    for task in (validate, load):
        harness18.run(task, batch)
    with ThreadPoolExecutor(2) as pool:
        closing, committing = pool.submit(harness18.run, discard, batch), pool.submit(harness18.run, commit, batch)
    outcome = closing.result().outcome
    if outcome == "committed":
        assert committing.result().outcome == "committed"
        assert harness18.database.one(TOTAL) == ROWS
    else:
        with pytest.raises(ClosedError):
            committing.result()
        assert harness18.database.one("SELECT count(*) FROM rates") == 0


def test_a_zombie_attempt_is_ended_by_its_retry(harness: TaskHarness) -> None:
    """A retry terminates the session of a load that hangs in its transaction, and does all the work."""
    batch = harness.send(csv(rows(ROWS, seed=400)))
    harness.run(validate, batch)
    with connected("load") as zombie:
        with zombie.cursor() as cursor:
            number = harness.database.one("SELECT batch_no FROM batches")
            cursor.execute("SELECT stage_batch(%s)", (number,))
            entry = require_open(cursor, batch.batch_id)
            zombie.commit()
        shard = ClaimedShard(zombie, batch, entry, "load")
        assert shard.start()
        with zombie.cursor() as cursor:
            cursor.execute("SELECT 1 FROM batches WHERE batch_no = %s FOR SHARE", (number,))
            cursor.execute("UPDATE shards SET done_at = now() WHERE batch_no = %s AND task = 'load'", (number,))
            cursor.execute(f"INSERT INTO staging_{number} VALUES (%s, '2021-01-01', 1, 'CNSHA', 'NLRTM')", (number,))
        assert harness.run(load, batch).rows == ROWS
        assert zombie.closed == 0
        with pytest.raises(Exception, match="terminat"):
            zombie.commit()
    assert harness.run(commit, batch).outcome == "committed"
    assert harness.database.one("SELECT count(*) FROM prices") == ROWS


def test_a_lock_that_is_held_too_long_is_a_passing_fault(
    harness18: TaskHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that waits too long for the ledger row exits with the code for a retry."""
    monkeypatch.setattr("ratesflow.loader.runtime.connection.LOCK_TIMEOUT_SECONDS", 1)
    batch = harness18.send(csv(rows(ROWS, seed=500)))
    harness18.run(validate, batch)
    holder = harness18.database.connect()
    with holder.cursor() as cursor:
        cursor.execute("SELECT 1 FROM batches FOR UPDATE")
        with pytest.raises(TransientError, match="lock timeout") as failure:
            harness18.run(load, batch)
        assert failure.value.exit_code == 75
    holder.rollback()
    holder.close()
    assert harness18.run(load, replace(batch)).outcome == "loaded"


def test_a_shard_does_not_wait_for_one_that_copies(harness: TaskHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one shard copies, another starts and finishes; the slow one merges."""
    monkeypatch.setattr("ratesflow.loader.runtime.connection.LOCK_TIMEOUT_SECONDS", 1)
    batch = harness.send(csv(rows(ROWS, seed=600)))
    first, second = (replace(batch, shard=shard, shards=2) for shard in range(2))
    for shard in (first, second):
        harness.run(validate, shard)
    copying, go_on = threading.Event(), threading.Event()
    parts = s3.parts

    def slow_parts(of, start, stop):
        if threading.current_thread().name.startswith("slow"):
            copying.set()
            assert go_on.wait(30)
        yield from parts(of, start, stop)

    monkeypatch.setattr(s3, "parts", slow_parts)
    with ThreadPoolExecutor(1, thread_name_prefix="slow") as pool:
        # A batch of one part lies wholly in the last of two shards.
        slow = pool.submit(harness.run, load, second)
        assert copying.wait(30)
        assert harness.run(load, first) is None
        go_on.set()
        assert slow.result().outcome == "loaded"
    assert harness.run(commit, batch).outcome == "committed"
    assert harness.database.one("SELECT count(*) FROM prices") == ROWS
