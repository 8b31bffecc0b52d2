"""Upkeep continues with outdated statistics, thousands of tables, parallel runs, or a piece that fails."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg2
import pytest

from ratesflow.loader.batches.hidden_rows import drop_rows
from ratesflow.loader.freight.dataset import FreightPrices
from ratesflow.loader.runtime import metrics
from ratesflow.loader.runtime.connection import connected
from ratesflow.loader.runtime.errors import TaskError
from ratesflow.loader.runtime.upkeep import Upkeep
from ratesflow.loader.tasks import compact as compacting
from ratesflow.loader.tasks.commit import commit
from ratesflow.loader.tasks.compact import compact
from ratesflow.loader.tasks.discard import discard
from ratesflow.loader.tasks.gc import gc
from ratesflow.loader.tasks.load import load
from ratesflow.loader.tasks.merge_partitions import GROUP_TABLES, Table, groups, merges
from ratesflow.loader.tasks.undo import undo
from ratesflow.loader.tasks.validate import validate
from tests.loader.conftest import TaskHarness
from tests.loader.samples import csv, rows
from tests.loader.tasks.test_undo_and_compact import committed, counts, expected, run, tables

MANY = """
DO $$
DECLARE
    number bigint;
BEGIN
    FOR i IN 1 .. {count} LOOP
        INSERT INTO batches (batch_id, bucket, key, version, rows) VALUES (i::text, 'b', 'k', 'v', 1)
        RETURNING batch_no INTO number;
        PERFORM stage_batch(number);
        EXECUTE format('INSERT INTO staging_%%s VALUES (%%s, ''2021-01-01'', 9, ''CNSHA'', ''NLRTM'')', number, number);
        PERFORM attach_batch(number);
    END LOOP;
    UPDATE batches SET state = 'committed', opened_at = opened_at - interval '1 day';
END
$$
"""


def many_tables(harness: TaskHarness, count: int, at_once: int = 150) -> None:
    """Make as many committed batches with a table each, of one price; some in a transaction, for their locks."""
    for _ in range(count // at_once):
        harness.database.query(MANY.format(count=at_once).replace("i::text", "gen_random_uuid()::text"))


@pytest.mark.parametrize("analysed", [False, True], ids=["no-statistics", "analysed"])
def test_tables_are_merged_whatever_is_known_of_the_catalogues(harness: TaskHarness, analysed: bool) -> None:
    """With catalogues that were analysed, as in any database that lives, and with none, few tables are left."""
    many_tables(harness, 150)
    if analysed:
        for catalogue in ("pg_class", "pg_inherits", "pg_namespace"):
            harness.database.query(f"ANALYZE {catalogue}")
    assert "merges of tables" in run(harness, compact).message
    assert len(tables(harness)) <= 128
    assert harness.database.one("SELECT count(*) FROM committed_prices") == 150


def test_groups_are_bounded_by_rows_and_by_tables() -> None:
    """A merge takes so many rows and so many tables; one that is big already is not copied again."""
    small = [Table(number, number, 0) for number in range(5 * GROUP_TABLES)]
    assert {len(group) for group in groups(small, 100)} == {GROUP_TABLES}
    mixed = [Table(0, 0, 60), *(Table(number, number, 30) for number in range(1, 6)), Table(6, 6, 99), Table(7, 7, 1)]
    assert [[table.first for table in group] for group in groups(mixed, 100)] == [[1, 2, 3], [4, 5]]


def test_a_piece_that_fails_stops_no_other(harness18: TaskHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other lanes are merged, the run ends as a defect that names the piece, and the backlog is a metric."""
    committed(harness18, rows(500, seed=1), "a")
    monkeypatch.setattr(compacting, "KEYS", 20)
    monkeypatch.setattr(compacting, "REST", 0)
    merge, pieces = compacting._merge, []

    def fail_first(*arguments: object) -> None:
        pieces.append(1)
        if len(pieces) == 1:
            raise psycopg2.ProgrammingError("a piece that no retry can do")
        merge(*arguments)

    monkeypatch.setattr(compacting, "_merge", fail_first)
    before = counts(harness18)
    with pytest.raises(TaskError, match=r"1 pieces of upkeep failed; the first: rates from key .* no retry"):
        run(harness18, compact)
    assert len(pieces) > 2
    assert metrics._noted["Backlog"] == 1
    lanes = "SELECT count(DISTINCT (orig_code, dest_code)) FROM rates WHERE batch_no <> 0"
    assert harness18.database.one(lanes) == 20
    assert counts(harness18) == before
    run(harness18, compact)
    assert harness18.database.query("SELECT DISTINCT batch_no FROM rates") == [(0,)]
    assert counts(harness18) == before


def test_a_lock_is_tried_again_and_then_left_to_the_next_run(
    harness18: TaskHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locked lanes are left for the next run, the others are merged, and the run succeeds."""
    monkeypatch.setattr("ratesflow.loader.runtime.connection.LOCK_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr("ratesflow.loader.runtime.upkeep.PAUSE_SECONDS", 0)
    monkeypatch.setattr(compacting, "KEYS", 20)
    committed(harness18, rows(500, seed=1), "a")
    with closing(harness18.database.connect()) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT FROM rates ORDER BY orig_code, dest_code LIMIT 1 FOR UPDATE")
        assert "1 pieces left for the next run" in run(harness18, compact).message
        holder.rollback()  # a closed session may hold its locks for a moment
    assert "left for" not in run(harness18, compact).message
    assert harness18.database.query("SELECT DISTINCT batch_no FROM rates") == [(0,)]


def test_two_that_drop_the_same_batch_both_succeed(harness: TaskHarness) -> None:
    """A discard beside gc, or two gc: whichever comes second finds nothing left to do."""
    batch = committed(harness, rows(100))
    number = harness.database.one("SELECT batch_no FROM batches")
    run(harness, undo, batch.batch_id)
    with closing(harness.database.connect()) as first, ThreadPoolExecutor(1) as pool, connected("gc") as second:
        with first.cursor() as cursor:
            cursor.execute("SELECT drop_batch(%s)", (number,))
            dropping = pool.submit(drop_rows, second, FreightPrices(), number)
            with pytest.raises(TimeoutError):
                dropping.result(0.5)
            first.commit()
        dropping.result(20)
    assert tables(harness) == []


def test_a_drop_beside_a_merge_of_its_table_succeeds(harness: TaskHarness) -> None:
    """An undone batch whose table is merged with others meanwhile is dropped from the merged one."""
    batches = [committed(harness, rows(100, seed=number), str(number)) for number in range(3)]
    run(harness, undo, batches[1].batch_id)
    with closing(harness.database.connect()) as merging, ThreadPoolExecutor(1) as pool:
        with merging.cursor() as cursor:
            cursor.execute("SELECT merge_prices(1, 3)")
            dropping = pool.submit(run, harness, gc, harness.bucket)
            with pytest.raises(TimeoutError):
                dropping.result(0.5)
            merging.commit()
        assert "1 leftover dropped" in dropping.result(20).message
    assert tables(harness) == ["prices_1_3"]
    assert harness.database.one("SELECT count(*) FROM prices") == 200


def test_two_of_each_at_once_do_all_of_it_once(harness18: TaskHarness) -> None:
    """Two gc and two compactions side by side end well, and leave what one of each would."""
    batches = [committed(harness18, rows(300, seed=number), str(number)) for number in range(6)]
    for batch in batches[::2]:
        run(harness18, undo, batch.batch_id)
    ready = threading.Barrier(4)

    def work(task: object, *arguments: str) -> None:
        ready.wait(20)
        run(harness18, task, *arguments)

    with ThreadPoolExecutor(4) as pool:
        tasks = ((gc, harness18.bucket), (gc, harness18.bucket), (compact,), (compact,))
        working = [pool.submit(work, *each) for each in tasks]
        for each in working:
            each.result(60)
    assert counts(harness18) == expected(*(rows(300, seed=number) for number in (1, 3, 5)))
    assert harness18.database.query("SELECT count(*) FROM prices") == [(900,)]
    assert harness18.database.query("SELECT FROM changes WHERE version IS NULL") == []


def test_what_gc_reads_does_not_grow_with_the_prices(harness18: TaskHarness) -> None:
    """After undos whose prices were dropped, gc opens no table of prices at all."""
    undone = committed(harness18, rows(100, seed=99), "undone")
    many_tables(harness18, 150)
    run(harness18, undo, undone.batch_id)
    run(harness18, gc, harness18.bucket)
    scans = "SELECT sum(seq_scan + coalesce(idx_scan, 0)) FROM pg_stat_user_tables WHERE relname ~ '^(staging|prices)_'"
    harness18.database.query("SELECT pg_stat_force_next_flush()")
    before = harness18.database.one(scans)
    run(harness18, gc, harness18.bucket)
    assert harness18.database.one(scans) == before


def test_hidden_rates_of_an_undo_that_died_are_dropped(harness18: TaskHarness) -> None:
    """The negative of an undo that was killed before its end is dropped by gc; the batch stays as it was."""
    batch = committed(harness18, rows(100))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ratesflow.loader.freight.rates_table.fit_tree", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(harness18, undo, batch.batch_id)
    assert harness18.database.one("SELECT count(*) FROM rates WHERE batch_no < 0") > 0
    run(harness18, gc, harness18.bucket)
    assert harness18.database.one("SELECT count(*) FROM rates WHERE batch_no < 0") == 0
    assert counts(harness18) == expected(rows(100))
    assert run(harness18, undo, batch.batch_id).outcome == "undone"


def test_counts_beyond_two_thousand_million_are_merged(harness: TaskHarness) -> None:
    """A lane and day takes more prices than a number of 32 bits holds, through commit, compaction and reading."""
    lots = 1_200_000_000
    for number in (101, 102):
        harness.database.query(
            "INSERT INTO rates VALUES (%s, '2021-02-01', 'CNSHA', 'NLRTM', array_fill(%s::bigint, '{28}'),"
            " array_fill(%s::bigint, '{28}'))",
            number,
            lots,
            lots * 2_000_000_000,
        )
        harness.database.query("INSERT INTO visible_batches VALUES (%s, 1)", number)
    run(harness, compact)
    assert harness.database.query("SELECT DISTINCT batch_no, counts[1], sums[1] FROM rates") == [
        (0, 2 * lots, 4 * lots * 10**9)
    ]
    assert harness.database.one("SELECT DISTINCT price FROM daily_rates") == 2_000_000_000


def test_old_changes_are_deleted(harness18: TaskHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the changes of the last data versions are kept."""
    monkeypatch.setattr(compacting, "KEPT_CHANGES", 2)
    for number in range(4):
        committed(harness18, rows(50, seed=number), str(number))
    run(harness18, compact)
    version = harness18.database.one("SELECT version FROM data_version")
    assert harness18.database.query("SELECT version FROM changes ORDER BY 1") == [(version - 1,), (version,)]


def test_merging_gives_up_when_readers_of_prices_do_not_end(
    harness18: TaskHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query over the prices that lasts holds up the merge, and the merge holds up no load."""
    monkeypatch.setattr("ratesflow.database.lock_retries.LOCK_SECONDS", 0.2)
    many_tables(harness18, 150)
    with closing(harness18.database.connect()) as person, person.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM prices WHERE batch_no = 1")
        with connected("compact") as connection:
            upkeep = Upkeep()
            assert upkeep.work_off(merges(connection)) == 0
        assert "left for the next run" in upkeep.finish()
        committed(harness18, rows(50))


def test_a_query_on_prices_delays_no_outcome(harness18: TaskHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a query reads prices, duplicates and discarded batches are closed, and gc drops their tables later."""
    monkeypatch.setattr("ratesflow.loader.batches.hidden_rows.DROP_SECONDS", 0.3)
    monkeypatch.setattr("ratesflow.database.lock_retries.LOCK_SECONDS", 0.1)
    first, twin = (harness18.send(csv(rows(100, seed=3)), key=f"incoming/{name}.csv") for name in "ab")
    for batch in (first, twin):
        harness18.run(validate, batch)
        harness18.run(load, batch)
    other = harness18.send(csv(rows(100, seed=4)), key="incoming/c.csv")
    harness18.run(validate, other)
    harness18.run(load, other)
    harness18.run(commit, first)
    with closing(harness18.database.connect()) as person, person.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM prices")
        assert harness18.run(commit, twin).outcome == "duplicate"
        assert harness18.run(discard, other).outcome == "discarded"
        assert "2 pieces left for the next run" in run(harness18, gc, harness18.bucket).message
        assert run(harness18, undo, first.batch_id).outcome == "undone"
    assert len(tables(harness18)) == 3
    run(harness18, gc, harness18.bucket)
    assert tables(harness18) == []
    run(harness18, compact)
    assert harness18.database.query("SELECT FROM rates") == []
    assert harness18.database.query("SELECT FROM changes WHERE version IS NULL") == []
