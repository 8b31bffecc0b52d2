"""Every task is killed at every point between its statements: what it did is wholly in or wholly out."""

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ratesflow.loader.batches.batch import PART_BYTES, Batch
from ratesflow.loader.freight.dataset import FreightPrices
from ratesflow.loader.runtime.connection import connected
from ratesflow.loader.tasks.commit import commit
from ratesflow.loader.tasks.compact import compact
from ratesflow.loader.tasks.discard import discard
from ratesflow.loader.tasks.load import load
from ratesflow.loader.tasks.undo import undo
from ratesflow.loader.tasks.validate import validate
from tests.loader.conftest import TaskHarness
from tests.loader.samples import csv, rows
from tests.loader.task_process import start_task

ROWS = 8
TOTAL = "SELECT coalesce(sum(count), 0)::bigint FROM daily_rates WHERE orig_code IN (SELECT code FROM ports)"


def until_dead(task: Callable[..., Any], *arguments: Any) -> Iterator[bool]:
    """Run a task in a process that dies at its first point, then at its second…; False at last, when it did not.

    The caller prepares the task's work before each step.
    """
    for number in range(1, 200):
        given = [argument() if callable(argument) else argument for argument in arguments]
        process = start_task(f"die:{number}", task, *given)
        process.join(60)
        assert process.exitcode in (-signal.SIGKILL, 0), f"ended with {process.exitcode} at point {number}"
        yield process.exitcode != 0
        if process.exitcode == 0:
            return
    raise AssertionError("it passed 200 points and did not end")


class Work:
    """One batch after another, each with other prices, prepared up to the task that is to die."""

    def __init__(self, harness: TaskHarness, *before: Callable[..., Any]) -> None:
        self.harness, self.before, self.count = harness, before, 0
        self.batch: Batch | None = None
        self.total = 0
        self.next()

    def next(self) -> None:
        """Prepare the next batch."""
        self.count += 1
        self.batch = self.harness.send(csv(rows(ROWS, seed=self.count)), key=f"incoming/{self.count}.csv")
        for task in self.before:
            self.harness.run(task, self.batch)
        self.total = self.visible()

    def current(self) -> Batch:
        """Return the batch that is prepared now."""
        assert self.batch is not None
        return self.batch

    def visible(self) -> int:
        """Return how many prices between ports a reader sees."""
        return int(self.harness.database.one(TOTAL))

    def state(self) -> str | None:
        """Return the state of the batch in the ledger, None if it has no row."""
        found = self.harness.database.query("SELECT state FROM batches WHERE batch_id = %s", self.current().batch_id)
        return found[0][0] if found else None


@pytest.mark.parametrize(("task", "before"), [(validate, ()), (load, (validate,))], ids=["validate", "load"])
def test_validate_and_load_show_nothing_and_can_be_done_again(
    harness18: TaskHarness, task: Callable[..., Any], before: tuple[Callable[..., Any], ...]
) -> None:
    """Killed anywhere, nothing becomes visible; the next attempt does the rest, and the batch commits once."""
    work = Work(harness18, *before)
    points = 0
    for died in until_dead(task, work.current):
        points += 1
        assert work.visible() == work.total
        assert work.state() in (None, "open")
        for again in (validate, load, commit):
            harness18.run(again, work.current())
        assert work.visible() == work.total + ROWS
        if died:
            work.next()
    assert points > 10
    assert harness18.database.one("SELECT count(*) FROM prices") == ROWS * work.count


def test_commit_is_wholly_in_or_wholly_out(harness: TaskHarness) -> None:
    """Killed anywhere, ledger and rates agree on whether the batch is committed; the next attempt returns committed."""
    work = Work(harness, validate, load)
    both = set()
    for died in until_dead(commit, work.current):
        committed = work.state() == "committed"
        both.add(committed)
        assert work.visible() == work.total + ROWS * committed
        assert harness.run(commit, work.current()).outcome == "committed"
        assert work.visible() == work.total + ROWS
        if died:
            work.next()
    assert both == {True, False}


def test_discard_is_finished_by_the_next_one(harness18: TaskHarness) -> None:
    """Killed anywhere, nothing is visible or can be committed once the row is closed; the next one drops the rest."""
    work = Work(harness18, validate, load)
    states = set()
    for died in until_dead(discard, work.current):
        states.add(work.state())
        assert work.visible() == 0
        assert harness18.run(discard, work.current()).outcome == "discarded"
        assert harness18.database.one("SELECT count(*) FROM rates") == 0
        assert harness18.database.one("SELECT count(*) FROM pg_inherits WHERE inhparent = 'prices'::regclass") == 0
        if died:
            work.next()
    assert states == {"open", "failed"}


def test_undo_is_wholly_in_or_wholly_out(harness: TaskHarness) -> None:
    """Killed anywhere, the batch is all there or all gone, in agreement with the ledger."""
    work = Work(harness, validate, load, commit)
    both = set()
    for died in until_dead(undo, "run", lambda: work.current().batch_id):
        undone = work.state() == "undone"
        both.add(undone)
        assert work.visible() == work.total - ROWS * undone
        with connected("undo") as connection:
            undo(connection, "run", work.current().batch_id, FreightPrices())
        assert work.visible() == work.total - ROWS
        if died:
            work.next()
    assert both == {True, False}


def test_compaction_never_changes_what_is_visible(harness18: TaskHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed anywhere, sums stay; the next run finishes, and only merged rows are left."""
    monkeypatch.setattr("ratesflow.loader.tasks.compact.KEYS", 60)
    work = Work(harness18, validate, load, commit)
    before = None
    for died in until_dead(compact, "run"):
        assert work.visible() == work.total
        assert before is None or harness18.database.query("SELECT * FROM daily_rates ORDER BY 1, 2, 3") == before
        with connected("compact") as connection:
            compact(connection, "run", dataset=FreightPrices())
        assert work.visible() == work.total
        assert harness18.database.query("SELECT DISTINCT batch_no FROM rates") == [(0,)]
        if died:
            work.next()
            before = harness18.database.query("SELECT * FROM daily_rates ORDER BY 1, 2, 3")
    assert work.count > 10


LARGE = 700_000  # of more than two parts, so that two connections load it


def test_a_large_load_is_killed_and_done_again(harness18: TaskHarness) -> None:
    """Killed while two connections copy, before, between and after their commits: each price is there once."""
    line = "CNSHA,NLRTM,2021-01-31,{}\n"
    data = ("orig_code,dest_code,day,price\n" + "".join(line.format(n) for n in range(1, LARGE + 1))).encode()
    assert len(data) > 2 * PART_BYTES
    batch = harness18.send(data)
    harness18.run(validate, batch)
    died = 0
    for number in (12, 18, 20, 22, 24, 26, 28, 32, 36):
        process = start_task(f"die:{number}", load, batch)
        process.join(60)
        died += process.exitcode == -signal.SIGKILL
        assert harness18.state(batch) == "open"
        assert harness18.database.one(TOTAL) == 0
    assert died > 5
    assert harness18.run(load, batch).rows == LARGE
    assert harness18.run(commit, batch).outcome == "committed"
    assert harness18.database.query("SELECT count(*), sum(price) FROM prices") == [(LARGE, LARGE * (LARGE + 1) // 2)]
    assert harness18.database.one(TOTAL) == LARGE
