"""Any order of events: changes of reference data, locks and copies of files at any moment."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import psycopg2
import pytest

from ratesflow.database import reference, reference_change, versions
from ratesflow.database.reference import Port, Reference
from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.runtime.errors import TransientError
from ratesflow.loader.tasks.commit import commit
from ratesflow.loader.tasks.compact import compact
from ratesflow.loader.tasks.load import load
from ratesflow.loader.tasks.undo import undo
from ratesflow.loader.tasks.validate import validate
from tests.loader.batches.test_shards import PRICES, run_all
from tests.loader.conftest import TaskHarness
from tests.loader.samples import csv, daily, rows
from tests.loader.task_calls import call_task
from tests.loader.tasks.test_undo_and_compact import committed, run
from tests.tree import DISAGREE

SHARDS = 8


def move_ports(harness: TaskHarness, chance: random.Random, count: int = 2) -> Reference:
    """Put some ports of the sample into other regions."""
    with closing(psycopg2.connect(harness.database.loader_url)) as connection:
        with connection, connection.cursor() as cursor:
            known, _ = reference.stored(cursor)
        ports = chance.sample(sorted({orig for orig, *_ in PRICES}), count)
        slugs = sorted(known.regions)
        moved = {code: replace(known.ports[code], parent_slug=chance.choice(slugs)) for code in ports}
        reference_change.load(connection, Reference(moved, {}))
        with connection, connection.cursor() as cursor:
            return reference.stored(cursor)[0]


def seen(harness: TaskHarness) -> dict:
    return {
        (orig, dest, day): (count, total)
        for orig, dest, day, count, total in harness.database.query(
            "SELECT orig_code, dest_code, month + (nth - 1)::integer, sum(count)::integer, sum(sum)::integer"
            " FROM rates CROSS JOIN LATERAL unnest(counts, sums) WITH ORDINALITY AS days (count, sum, nth)"
            " WHERE batch_no IN (SELECT batch_no FROM visible_batches) GROUP BY 1, 2, 3 HAVING sum(count) <> 0"
        )
    }


@pytest.mark.usefixtures("small_parts")
def test_regions_are_right_when_ports_move_between_the_shards_tasks(harness: TaskHarness) -> None:
    """Validated by one tree, loaded by eight shards side by side by another, committed by a third: counted once."""
    chance = random.Random(5)
    batch = harness.send(csv(PRICES))
    for shard in range(SHARDS):  # the first shards by one tree, the others by the next
        if shard == SHARDS // 2:
            move_ports(harness, chance)
        harness.run(validate, replace(batch, shard=shard, shards=SHARDS))
    move_ports(harness, chance)
    assert "loaded" in run_all(harness, load, batch, SHARDS)
    tree = move_ports(harness, chance)
    assert harness.run(commit, replace(batch, shards=SHARDS)).outcome == "committed"
    assert harness.database.query(DISAGREE) == []
    assert seen(harness) == daily(PRICES, tree)
    tree = move_ports(harness, chance)
    assert seen(harness) == daily(PRICES, tree)
    run(harness, undo, batch.batch_id)
    move_ports(harness, chance)
    run(harness, compact)
    assert seen(harness) == {}
    assert harness.database.query("SELECT FROM rates") == []


def test_no_snapshot_shows_regions_that_are_not_the_sum_of_their_ports(harness18: TaskHarness) -> None:
    """While batches are committed, undone and merged and ports move all the time, a reader never sees a difference."""
    chance, stop, wrong, looks = random.Random(6), threading.Event(), [], []

    def look() -> None:
        with closing(psycopg2.connect(harness18.database.url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                while not stop.is_set():
                    cursor.execute(DISAGREE)
                    wrong.extend(cursor.fetchall()[:3])
                    looks.append(1)

    def keep_moving() -> None:
        while not stop.is_set():
            move_ports(harness18, chance)

    def keep_merging() -> None:
        while not stop.is_set():
            run(harness18, compact)
            time.sleep(0.05)

    def send(number: int) -> None:
        prices = [(orig, dest, day, price + number) for orig, dest, day, price in PRICES[:800]]
        batch = committed(harness18, prices, f"moving-{number}")
        if number % 3 == 0:
            run(harness18, undo, batch.batch_id)

    with ThreadPoolExecutor(5) as pool:
        others = [pool.submit(each) for each in (look, keep_moving, keep_merging)]
        try:
            list(pool.map(send, range(16)))
        finally:
            stop.set()
        for other in others:
            other.result(60)
    assert len(looks) > 5
    assert wrong == []
    assert harness18.database.query(DISAGREE) == []


def test_a_load_never_waits_for_reference_data(harness18: TaskHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """While reference data is being changed, for however long, batches are validated and loaded."""
    monkeypatch.setattr("ratesflow.loader.runtime.connection.LOCK_TIMEOUT_SECONDS", 1)
    with closing(harness18.database.connect()) as holder, holder.cursor() as cursor:
        cursor.execute("UPDATE reference_version SET version = version + 1")
        batch = harness18.send(csv(rows(500)))
        harness18.run(validate, batch)
        assert harness18.run(load, batch).outcome == "loaded"
        holder.rollback()
    assert harness18.run(commit, batch).outcome == "committed"


def test_a_load_outlasts_an_analyze(harness18: TaskHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """ANALYZE of the prices conflicts with attaching a table; the load waits for it, beyond any lock timeout."""
    monkeypatch.setattr("ratesflow.loader.runtime.connection.LOCK_TIMEOUT_SECONDS", 1)
    monkeypatch.setattr("ratesflow.database.lock_retries.LOCK_SECONDS", 0.2)
    batch = harness18.send(csv(rows(500)))
    harness18.run(validate, batch)
    with closing(harness18.database.connect()) as holder, ThreadPoolExecutor(1) as pool:
        with holder.cursor() as cursor:
            cursor.execute("ANALYZE prices")  # holds its lock to the transaction's end
        loading = pool.submit(harness18.run, load, batch)
        with pytest.raises(TimeoutError):
            loading.result(3)
        holder.rollback()
        assert loading.result(30).outcome == "loaded"


def forced(harness: TaskHarness, data: bytes, name: str) -> Batch:
    return harness.send(data, key=f"incoming/{name}.csv", force=True)


def whole(harness: TaskHarness, batch: Batch) -> str:
    """Take a batch as far as it goes."""
    for task in (validate, load, commit):
        result = harness.run(task, batch)
        if result.outcome == "duplicate":
            break
    return result.outcome


def test_bytes_are_committed_twice_only_if_somebody_asked_for_it(harness: TaskHarness) -> None:
    """A forced batch is a committed batch like any other, also when the one that it repeats was undone."""
    data = csv(rows(100))
    first, again = harness.send(data, key="incoming/a.csv"), forced(harness, data, "b")
    assert [whole(harness, batch) for batch in (first, again)] == ["committed", "committed"]
    run(harness, undo, first.batch_id)
    assert whole(harness, harness.send(data, key="incoming/c.csv")) == "duplicate"
    assert harness.database.one("SELECT count(*) FROM committed_prices") == 100
    assert whole(harness, replace(again, batch_id="again")) == "duplicate", "a forced batch run again adds nothing"
    assert whole(harness, forced(harness, data, "b")) == "committed"


def test_a_forced_and_an_unforced_batch_that_race_end_as_asked(harness18: TaskHarness) -> None:
    """Of the same bytes loaded side by side the unforced one becomes a duplicate once the forced one is committed."""
    data = csv(rows(100))
    plain, strong = harness18.send(data, key="incoming/a.csv"), forced(harness18, data, "b")
    for task in (validate, load):
        for batch in (plain, strong):
            harness18.run(task, batch)
    assert harness18.run(commit, strong).outcome == "committed"
    assert harness18.run(commit, plain).outcome == "duplicate"
    assert harness18.database.one("SELECT count(*) FROM committed_prices") == 100
    assert harness18.database.query("SELECT DISTINCT batch_no FROM rates") == [
        (harness18.database.one("SELECT batch_no FROM batches WHERE batch_id = %s", strong.batch_id),)
    ]


def test_commits_of_the_same_bytes_come_one_after_the_other(
    harness18: TaskHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a forced batch is being committed, an unforced one of the same bytes waits, and becomes a duplicate."""
    data = csv(rows(100))
    plain, strong = harness18.send(data, key="incoming/a.csv"), forced(harness18, data, "b")
    for task in (validate, load):
        for batch in (plain, strong):
            harness18.run(task, batch)
    almost, go_on = threading.Event(), threading.Event()

    def make_visible(cursor: Any, *batches: int) -> int:
        almost.set()
        assert go_on.wait(30)
        return versions.make_visible(cursor, *batches)

    with ThreadPoolExecutor(2) as pool:
        with monkeypatch.context() as patch:
            patch.setattr("ratesflow.loader.tasks.commit.make_visible", make_visible)
            first = pool.submit(harness18.run, commit, strong)
            assert almost.wait(30)
        second = pool.submit(harness18.run, commit, plain)
        with pytest.raises(TimeoutError):
            second.result(1)
        go_on.set()
        assert [each.result(30).outcome for each in (first, second)] == ["committed", "duplicate"]


def test_a_server_that_takes_no_writes_is_waited_for(harness18: TaskHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the writer's name points to a demoted server, a task waits; a statement there is a transient failure."""
    batch = harness18.send(csv(rows(100)))
    monkeypatch.setattr("ratesflow.loader.runtime.connection.PAUSE_SECONDS", 0.05)
    name = harness18.database.name
    harness18.database.query(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(harness18.run, validate, batch)
        with pytest.raises(TimeoutError):
            waiting.result(1)
        with closing(psycopg2.connect(harness18.database.url)) as owner, owner.cursor() as cursor:
            cursor.execute("SET transaction_read_only = off")
            cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
            owner.commit()
        assert waiting.result(20).outcome == "accepted"
    with pytest.raises(TransientError, match="read-only"):
        harness18.run(load_read_only, batch)


def load_read_only(connection: Any, batch: Batch) -> None:
    """Load at the moment when the server stops to take writes."""
    with connection.cursor() as cursor:
        cursor.execute("SET transaction_read_only = on")
    call_task(load, connection, batch)


def test_a_port_that_is_new_has_no_rates_to_move(harness18: TaskHarness) -> None:
    """New ports and regions change nothing that is visible."""
    committed(harness18, PRICES[:300])
    before = seen(harness18)
    with closing(psycopg2.connect(harness18.database.loader_url)) as connection:
        reference_change.load(connection, Reference({"ZZNEW": Port("ZZNEW", "New", "baltic")}, {}))
    assert seen(harness18) == before
