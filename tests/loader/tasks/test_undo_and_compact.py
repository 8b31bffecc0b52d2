"""Undo and compaction: exact, in any order, and invisible where they should be."""

import threading
from typing import Any

import psycopg2
import pytest

from ratesflow.database import reference, reference_change
from ratesflow.loader.runtime.connection import connected
from ratesflow.loader.runtime.errors import ClosedError, UsageError
from ratesflow.loader.runtime.upkeep import Upkeep
from ratesflow.loader.tasks.commit import commit
from ratesflow.loader.tasks.compact import compact
from ratesflow.loader.tasks.gc import gc
from ratesflow.loader.tasks.load import load
from ratesflow.loader.tasks.merge_partitions import merges
from ratesflow.loader.tasks.undo import undo
from ratesflow.loader.tasks.validate import validate
from tests.loader.conftest import TaskHarness
from tests.loader.samples import csv, daily, rows
from tests.loader.task_calls import call_task


def committed(harness: TaskHarness, prices: list, name: str = "a"):
    batch = harness.send(csv(prices), key=f"incoming/{name}.csv")
    for task in (validate, load, commit):
        harness.run(task, batch)
    return batch


def run(harness: TaskHarness, task, *arguments):
    """Run a task that belongs to no batch."""
    with connected("test") as connection:
        return call_task(task, connection, "run-1", *arguments)


def visible(harness: TaskHarness) -> list[tuple]:
    return harness.database.query("SELECT * FROM daily_rates ORDER BY 1, 2, 3")


def expected(*batches: list) -> dict:
    return {
        key: count
        for key, (count, _) in daily([price for batch in batches for price in batch], reference.builtin()).items()
    }


def counts(harness: TaskHarness) -> dict:
    return {(orig, dest, day): count for orig, dest, day, count, _ in visible(harness)}


A, B = rows(2500, seed=41), rows(2500, seed=42)


@pytest.mark.parametrize("before", [False, True], ids=["open", "merged"])
def test_undo_removes_exactly_one_batch(harness: TaskHarness, before: bool) -> None:
    """After an undo readers see the other batches alone, whether the rates were merged before or are after."""
    committed(harness, A, "a")
    only_a = visible(harness)
    batch = committed(harness, B, "b")
    if before:
        run(harness, compact)
    version = harness.database.one("SELECT version FROM data_version")
    assert run(harness, undo, batch.batch_id).outcome == "undone"
    assert visible(harness) == only_a
    assert harness.database.one("SELECT version FROM data_version") == version + 1
    assert harness.state(batch) == "undone"
    assert harness.database.one("SELECT count(*) FROM committed_prices") == len(A)
    run(harness, compact)
    assert visible(harness) == only_a
    assert harness.database.query("SELECT DISTINCT batch_no FROM rates") == [(0,)]


def test_undo_of_everything_leaves_no_row(harness: TaskHarness) -> None:
    """Merged rows that come to zero are gone, not kept as zeros."""
    batch = committed(harness, A)
    run(harness, undo, batch.batch_id)
    run(harness, compact)
    assert harness.database.one("SELECT count(*) FROM rates") == 0
    assert harness.database.query("SELECT batch_no FROM visible_batches") == [(0,)]


def test_a_second_undo_changes_nothing(harness: TaskHarness) -> None:
    """A second undo changes nothing and reports that the batch is already undone."""
    batch = committed(harness, A)
    run(harness, undo, batch.batch_id)
    before = harness.database.snapshot()
    assert "was already undone" in run(harness, undo, batch.batch_id).message
    assert harness.database.snapshot() == before


def test_the_same_file_loads_again_after_an_undo(harness: TaskHarness) -> None:
    """The bytes of an undone batch are no duplicate."""
    batch = committed(harness, A)
    before = visible(harness)
    run(harness, undo, batch.batch_id)
    committed(harness, A, "again")
    assert visible(harness) == before


def test_a_batch_that_was_never_committed_cannot_be_undone(harness18: TaskHarness) -> None:
    """An unknown batch and an open one cause different errors."""
    batch = harness18.send(csv(A))
    harness18.run(validate, batch)
    with pytest.raises(ClosedError, match="is open, not committed"):
        run(harness18, undo, batch.batch_id)
    with pytest.raises(UsageError, match="there is no batch nothing"):
        run(harness18, undo, "nothing")


def test_undo_after_a_port_moved_is_exact(harness: TaskHarness) -> None:
    """A port that moved between commit and undo leaves nothing behind in its old or new regions."""
    committed(harness, A, "a")
    batch = committed(harness, B, "b")
    run(harness, compact)
    moved = reference.Reference({"CNSHA": reference.Port("CNSHA", "Shanghai", "europe")}, {})
    connection = harness.database.connect()
    reference_change.load(connection, moved)
    connection.close()
    run(harness, undo, batch.batch_id)
    tree = reference.builtin()
    merged = reference.Reference({**tree.ports, **moved.ports}, tree.regions)
    assert counts(harness) == {key: count for key, (count, _) in daily(A, merged).items()}


def test_gc_drops_the_prices_of_an_undone_batch(harness: TaskHarness) -> None:
    """The partition of an undone batch is dropped later; nothing that a reader sees changes."""
    committed(harness, A, "a")
    batch = committed(harness, B, "b")
    run(harness, undo, batch.batch_id)
    before = visible(harness)
    run(harness, gc, harness.bucket)
    assert harness.database.one("SELECT count(*) FROM prices") == len(A)
    assert visible(harness) == before


def test_compaction_changes_nothing_that_is_visible(harness: TaskHarness) -> None:
    """Rates of visible batches become rows under number 0 with the same sums; the data version stays."""
    for name, prices in (("a", A), ("b", B)):
        committed(harness, prices, name)
    before, version = visible(harness), harness.database.one("SELECT version FROM data_version")
    assert run(harness, compact).rows == 2
    assert visible(harness) == before
    assert harness.database.one("SELECT version FROM data_version") == version
    assert harness.database.query("SELECT DISTINCT batch_no FROM rates") == [(0,)]
    assert harness.database.query("SELECT batch_no FROM visible_batches") == [(0,)]
    assert run(harness, compact).rows == 0


def test_compaction_leaves_hidden_batches_hidden(harness: TaskHarness) -> None:
    """Rates of a batch that is not committed are not merged, and count after its commit."""
    committed(harness, A, "a")
    batch = harness.send(csv(B), key="incoming/b.csv")
    harness.run(validate, batch)
    harness.run(load, batch)
    run(harness, compact)
    assert counts(harness) == expected(A)
    harness.run(commit, batch)
    assert counts(harness) == expected(A, B)


def test_compaction_waits_until_it_is_due(harness18: TaskHarness) -> None:
    """With fewer visible batches than `min_batches`, nothing is merged."""
    committed(harness18, A)
    assert "visible batches: 1; compaction starts at 16" in run(harness18, compact, 16).message
    assert harness18.database.one("SELECT count(*) FROM rates WHERE batch_no = 0") == 0


def test_readers_see_whole_batches_during_compaction_and_undo(harness: TaskHarness) -> None:
    """A reader that sums everything all the time sees only sums of whole batches."""
    total = "SELECT coalesce(sum(count), 0)::bigint FROM daily_rates WHERE orig_code IN (SELECT code FROM ports)"
    seen, stop = set(), threading.Event()

    def read() -> None:
        connection = harness.database.connect()
        connection.autocommit = True
        with connection.cursor() as cursor:
            while not stop.is_set():
                cursor.execute(total)
                seen.add(cursor.fetchone()[0])
        connection.close()

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    committed(harness, A, "a")
    batch = committed(harness, B, "b")
    run(harness, compact)
    run(harness, undo, batch.batch_id)
    run(harness, compact)
    stop.set()
    for reader in readers:
        reader.join()
    assert seen <= {0, len(A), len(A) + len(B)}
    assert harness.database.one(total) == len(A)


def tables(harness: TaskHarness) -> list[str]:
    query = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'prices'::regclass"
    return [name for (name,) in harness.database.query(query)]


def merge_partitions(connection: Any, **limits: int) -> int:
    upkeep = Upkeep()
    done = upkeep.work_off(merges(connection, **limits))
    assert upkeep.finish() == ""
    return done


def test_old_tables_of_prices_become_one(harness: TaskHarness) -> None:
    """Tables of closed batches are merged with every row kept; an open batch and its neighbours are left alone."""
    batches = [committed(harness, rows(200, seed=number), str(number)) for number in range(4)]
    run(harness, undo, batches[1].batch_id)
    waiting = harness.send(csv(B), key="incoming/waiting.csv")
    harness.run(validate, waiting)
    harness.run(load, waiting)
    prices = "SELECT orig_code, dest_code, day, price FROM committed_prices ORDER BY 1, 2, 3, 4"
    before, seen = harness.database.query(prices), visible(harness)
    with connected("compact") as connection:
        assert merge_partitions(connection, most=2) == 0  # the batches are too young
        harness.database.query("UPDATE batches SET opened_at = opened_at - interval '1 day' WHERE state <> 'open'")
        assert merge_partitions(connection, most=2) == 1
    assert len(tables(harness)) == 2
    assert harness.database.query(prices) == before
    assert visible(harness) == seen
    harness.run(commit, waiting)
    assert harness.database.one("SELECT count(*) FROM committed_prices") == len(before) + len(B)


def test_a_batch_in_a_merged_table_can_be_undone(harness: TaskHarness) -> None:
    """Undo and gc work the same when the prices are in a merged table."""
    batches = [committed(harness, rows(200, seed=number), str(number)) for number in range(3)]
    harness.database.query("UPDATE batches SET opened_at = opened_at - interval '1 day'")
    with connected("compact") as connection:
        merge_partitions(connection, most=1)
    assert len(tables(harness)) == 1
    run(harness, undo, batches[1].batch_id)
    assert counts(harness) == expected(rows(200, seed=0), rows(200, seed=2))
    run(harness, gc, harness.bucket)
    assert harness.database.one("SELECT count(*) FROM prices") == 400
    assert counts(harness) == expected(rows(200, seed=0), rows(200, seed=2))


def test_tables_of_an_open_batch_are_never_merged(harness18: TaskHarness) -> None:
    """The database rejects a merge of a range with an open batch."""
    committed(harness18, A)
    waiting = harness18.send(csv(B), key="incoming/b.csv")
    harness18.run(validate, waiting)
    with pytest.raises(psycopg2.DatabaseError, match="is open"):
        harness18.database.query("SELECT merge_prices(1, 100)")
