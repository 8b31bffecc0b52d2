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


def committed(desk: TaskHarness, prices: list, name: str = "a"):
    batch = desk.send(csv(prices), key=f"incoming/{name}.csv")
    for task in (validate, load, commit):
        desk.run(task, batch)
    return batch


def run(desk: TaskHarness, task, *arguments):
    """Run a task that belongs to no batch."""
    with connected("test") as connection:
        return call_task(task, connection, "run-1", *arguments)


def visible(desk: TaskHarness) -> list[tuple]:
    return desk.database.ask("SELECT * FROM daily_rates ORDER BY 1, 2, 3")


def expected(*batches: list) -> dict:
    return {
        key: count
        for key, (count, _) in daily([price for batch in batches for price in batch], reference.builtin()).items()
    }


def counts(desk: TaskHarness) -> dict:
    return {(orig, dest, day): count for orig, dest, day, count, _ in visible(desk)}


A, B = rows(2500, seed=41), rows(2500, seed=42)


@pytest.mark.parametrize("before", [False, True], ids=["open", "merged"])
def test_undo_removes_exactly_one_batch(desk: TaskHarness, before: bool) -> None:
    """After an undo readers see the other batches alone, whether the rates were merged before or are after."""
    committed(desk, A, "a")
    only_a = visible(desk)
    batch = committed(desk, B, "b")
    if before:
        run(desk, compact)
    version = desk.database.one("SELECT version FROM data_version")
    assert run(desk, undo, batch.batch_id).outcome == "undone"
    assert visible(desk) == only_a
    assert desk.database.one("SELECT version FROM data_version") == version + 1
    assert desk.state(batch) == "undone"
    assert desk.database.one("SELECT count(*) FROM committed_prices") == len(A)
    run(desk, compact)
    assert visible(desk) == only_a
    assert desk.database.ask("SELECT DISTINCT batch_no FROM rates") == [(0,)]


def test_undo_of_everything_leaves_no_row(desk: TaskHarness) -> None:
    """Merged rows that come to zero are gone, not kept as zeros."""
    batch = committed(desk, A)
    run(desk, undo, batch.batch_id)
    run(desk, compact)
    assert desk.database.one("SELECT count(*) FROM rates") == 0
    assert desk.database.ask("SELECT batch_no FROM visible_batches") == [(0,)]


def test_undo_twice_is_once(desk: TaskHarness) -> None:
    """A second undo changes nothing and says so."""
    batch = committed(desk, A)
    run(desk, undo, batch.batch_id)
    before = desk.database.snapshot()
    assert "before" in run(desk, undo, batch.batch_id).message
    assert desk.database.snapshot() == before


def test_the_same_file_loads_again_after_an_undo(desk: TaskHarness) -> None:
    """The bytes of an undone batch are no duplicate."""
    batch = committed(desk, A)
    before = visible(desk)
    run(desk, undo, batch.batch_id)
    committed(desk, A, "again")
    assert visible(desk) == before


def test_what_was_never_committed_cannot_be_undone(desk18: TaskHarness) -> None:
    """An unknown batch and an open one are told apart, in words."""
    batch = desk18.send(csv(A))
    desk18.run(validate, batch)
    with pytest.raises(ClosedError, match="is open, not committed"):
        run(desk18, undo, batch.batch_id)
    with pytest.raises(UsageError, match="there is no batch nothing"):
        run(desk18, undo, "nothing")


def test_undo_after_a_port_moved_is_exact(desk: TaskHarness) -> None:
    """A port that moved between commit and undo leaves nothing behind in its old or new regions."""
    committed(desk, A, "a")
    batch = committed(desk, B, "b")
    run(desk, compact)
    moved = reference.Reference({"CNSHA": reference.Port("CNSHA", "Shanghai", "europe")}, {})
    connection = desk.database.connect()
    reference_change.load(connection, moved)
    connection.close()
    run(desk, undo, batch.batch_id)
    tree = reference.builtin()
    merged = reference.Reference({**tree.ports, **moved.ports}, tree.regions)
    assert counts(desk) == {key: count for key, (count, _) in daily(A, merged).items()}


def test_gc_drops_the_prices_of_an_undone_batch(desk: TaskHarness) -> None:
    """The partition of an undone batch is dropped later; nothing that a reader sees changes."""
    committed(desk, A, "a")
    batch = committed(desk, B, "b")
    run(desk, undo, batch.batch_id)
    before = visible(desk)
    run(desk, gc, desk.bucket)
    assert desk.database.one("SELECT count(*) FROM prices") == len(A)
    assert visible(desk) == before


def test_compaction_changes_nothing_that_is_visible(desk: TaskHarness) -> None:
    """Rates of open batches become rows under number 0 with the same sums; the data version stays."""
    for name, prices in (("a", A), ("b", B)):
        committed(desk, prices, name)
    before, version = visible(desk), desk.database.one("SELECT version FROM data_version")
    assert run(desk, compact).rows == 2
    assert visible(desk) == before
    assert desk.database.one("SELECT version FROM data_version") == version
    assert desk.database.ask("SELECT DISTINCT batch_no FROM rates") == [(0,)]
    assert desk.database.ask("SELECT batch_no FROM visible_batches") == [(0,)]
    assert run(desk, compact).rows == 0


def test_compaction_leaves_hidden_batches_hidden(desk: TaskHarness) -> None:
    """Rates of a batch that is not committed are not merged, and count after its commit."""
    committed(desk, A, "a")
    batch = desk.send(csv(B), key="incoming/b.csv")
    desk.run(validate, batch)
    desk.run(load, batch)
    run(desk, compact)
    assert counts(desk) == expected(A)
    desk.run(commit, batch)
    assert counts(desk) == expected(A, B)


def test_compaction_waits_until_it_is_due(desk18: TaskHarness) -> None:
    """With fewer open batches than asked for nothing happens."""
    committed(desk18, A)
    assert "due at 16" in run(desk18, compact, 16).message
    assert desk18.database.one("SELECT count(*) FROM rates WHERE batch_no = 0") == 0


def test_readers_see_whole_batches_during_compaction_and_undo(desk: TaskHarness) -> None:
    """A reader that sums everything all the time sees only sums of whole batches."""
    total = "SELECT coalesce(sum(count), 0)::bigint FROM daily_rates WHERE orig_code IN (SELECT code FROM ports)"
    seen, stop = set(), threading.Event()

    def read() -> None:
        connection = desk.database.connect()
        connection.autocommit = True
        with connection.cursor() as cursor:
            while not stop.is_set():
                cursor.execute(total)
                seen.add(cursor.fetchone()[0])
        connection.close()

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    committed(desk, A, "a")
    batch = committed(desk, B, "b")
    run(desk, compact)
    run(desk, undo, batch.batch_id)
    run(desk, compact)
    stop.set()
    for reader in readers:
        reader.join()
    assert seen <= {0, len(A), len(A) + len(B)}
    assert desk.database.one(total) == len(A)


def tables(desk: TaskHarness) -> list[str]:
    query = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'prices'::regclass"
    return [name for (name,) in desk.database.ask(query)]


def merge_partitions(connection: Any, **limits: int) -> int:
    upkeep = Upkeep()
    done = upkeep.work_off(merges(connection, **limits))
    assert upkeep.finish() == ""
    return done


def test_old_tables_of_prices_become_one(desk: TaskHarness) -> None:
    """Tables of closed batches are merged with every row kept; an open batch and its neighbours are left alone."""
    batches = [committed(desk, rows(200, seed=number), str(number)) for number in range(4)]
    run(desk, undo, batches[1].batch_id)
    waiting = desk.send(csv(B), key="incoming/waiting.csv")
    desk.run(validate, waiting)
    desk.run(load, waiting)
    prices = "SELECT orig_code, dest_code, day, price FROM committed_prices ORDER BY 1, 2, 3, 4"
    before, seen = desk.database.ask(prices), visible(desk)
    with connected("compact") as connection:
        assert merge_partitions(connection, most=2) == 0  # the batches are too young
        desk.database.ask("UPDATE batches SET opened_at = opened_at - interval '1 day' WHERE state <> 'open'")
        assert merge_partitions(connection, most=2) == 1
    assert len(tables(desk)) == 2
    assert desk.database.ask(prices) == before
    assert visible(desk) == seen
    desk.run(commit, waiting)
    assert desk.database.one("SELECT count(*) FROM committed_prices") == len(before) + len(B)


def test_a_batch_in_a_merged_table_can_be_undone(desk: TaskHarness) -> None:
    """Undo and gc work the same when the prices lie among those of others."""
    batches = [committed(desk, rows(200, seed=number), str(number)) for number in range(3)]
    desk.database.ask("UPDATE batches SET opened_at = opened_at - interval '1 day'")
    with connected("compact") as connection:
        merge_partitions(connection, most=1)
    assert len(tables(desk)) == 1
    run(desk, undo, batches[1].batch_id)
    assert counts(desk) == expected(rows(200, seed=0), rows(200, seed=2))
    run(desk, gc, desk.bucket)
    assert desk.database.one("SELECT count(*) FROM prices") == 400
    assert counts(desk) == expected(rows(200, seed=0), rows(200, seed=2))


def test_tables_of_an_open_batch_are_never_merged(desk18: TaskHarness) -> None:
    """The database itself refuses to merge a range that an open batch lies in."""
    committed(desk18, A)
    waiting = desk18.send(csv(B), key="incoming/b.csv")
    desk18.run(validate, waiting)
    with pytest.raises(psycopg2.DatabaseError, match="is open"):
        desk18.database.ask("SELECT merge_prices(1, 100)")
