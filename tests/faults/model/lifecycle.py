"""A Hypothesis state machine of batches in one database: the possible events, and the invariants after each.

The tasks run one by one or concurrently, or are killed at a fault point between two statements.
"""

import itertools
import os
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from ratesflow.database.reference import Reference, builtin
from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.runtime.connection import connected
from ratesflow.loader.runtime.errors import TransientError
from ratesflow.loader.tasks.commit import commit
from ratesflow.loader.tasks.compact import compact
from ratesflow.loader.tasks.discard import discard
from ratesflow.loader.tasks.gc import gc
from ratesflow.loader.tasks.load import load
from ratesflow.loader.tasks.undo import undo
from ratesflow.loader.tasks.validate import validate
from tests.faults.campaign.actions import (
    ACTIONS,
    MAY_FOLLOW,
    MOVES,
    Move,
    Task,
    analyze,
    demote,
    move_tree,
    perform,
    set_read_only,
)
from tests.faults.campaign.contents import PORTS, Content
from tests.faults.campaign.interrupted_tasks import suspended
from tests.faults.campaign.invariants import LEFTOVERS
from tests.faults.model.tree_changes import change, possible
from tests.faults.readers.snapshots import Snapshot, find_violations, regressions, take_snapshot
from tests.fix_database import drop_database
from tests.loader.conftest import TaskHarness
from tests.loader.task_calls import call_task
from tests.waiting import wait_for

_numbers = itertools.count(1)
# Tasks that need no lock of the suspended task finish within this time.
SUSPENDED_SECONDS = 0.4


class BatchLifecycle(RuleBasedStateMachine):
    """Batches with a few contents in a new database; tasks log in as each of `logins` in turn."""

    batches = Bundle("batches")

    def __init__(self, make_harness: Callable[[], tuple[TaskHarness, Sequence[str]]]) -> None:
        super().__init__()
        self.harness, logins = make_harness()
        self.logins = itertools.cycle(logins)
        self.sent: dict[str, Content] = {}
        self.states: dict[str, str | None] = {}
        self.trees = [builtin()]
        self.before: Snapshot | None = None
        self.rotate()

    @initialize(target=batches, bad=st.booleans(), moves=st.lists(st.none() | MOVES, min_size=3, max_size=3))
    def begin(self, bad: bool, moves: list[Move | None]) -> MultipleResults[Batch]:
        """Start with some batches, two of them committed."""
        kinds = (0, False, 1, False), (1, False, 8, False), (2, bad, 2, False), (0, False, 1, True)
        batches = [self.send(*kind) for kind in kinds]
        for batch in batches[:2]:
            self.run_all_tasks(batch, moves)
        return multiple(*batches)

    @rule(target=batches, batch=batches, other=batches, action=ACTIONS)
    def do(self, batch: Batch, other: Batch, action: tuple[Any, ...]) -> MultipleResults[Batch]:
        """Perform an action on one batch, on two batches, or on the database."""
        name, *values = action
        operands = {"run_concurrently": (batch, other), "run_suspended": (batch, other)}
        operands |= dict.fromkeys(
            ("run_all_tasks", "run_task", "redo", "undo_batch", "collect_garbage", "read_only"), (batch,)
        )
        created = getattr(self, name)(*operands.get(name, ()), *values)
        return multiple(created) if created else multiple()

    def send_batch(self, number: int, bad: bool, shards: int, force: bool) -> Batch:
        """Send another batch; invalid ones are less frequent."""
        return self.send(number, bad and number == 3, shards, force)

    def send(self, number: int, bad: bool, shards: int, force: bool) -> Batch:
        """Upload a file: new bytes, the same bytes again, or an invalid file."""
        content = Content(number + 10 * bad, rows=24 + 48 * (number % 2), bad_line=7 if bad else 0)
        name = f"life-{next(_numbers)}"
        batch = self.harness.send(content.data, key=f"incoming/{name}.csv", batch_id=name, force=force)
        return self.register(replace(batch, shards=shards), content)

    def redo(self, batch: Batch) -> Batch:
        """Start the same object again, with another name."""
        return self.register(replace(batch, batch_id=f"life-{next(_numbers)}"), self.sent[batch.batch_id])

    def register(self, batch: Batch, content: Content) -> Batch:
        """Record a batch and its content."""
        self.sent[batch.batch_id] = content
        self.states[batch.batch_id] = None
        return batch

    def run_task(self, batch: Batch, task: Task, shard: int, point: int) -> None:
        """Run a task, possibly again or too late; with a point, it dies there."""
        shard = min(shard, batch.shards - 1) if task in (validate, load) else 0
        perform(task, replace(batch, shard=shard), point=point)

    def run_all_tasks(self, batch: Batch, moves: list[Move | None]) -> None:
        """Run all tasks of a batch, and change the tree before some of them."""
        for task, move in zip((validate, load, commit), moves, strict=True):
            if move:
                self.move(move, 0)
                self.invariants_hold()
            self.all_shards(task, batch, [])

    def run_concurrently(self, batch: Batch, other: Batch, task: Task, names: set[str], move: Move) -> None:
        """Run all shards of a task concurrently with other tasks, while an observer takes snapshots."""
        self.trees = possible(self.trees[0], [self.reference_file(move)] if "move" in names else [])
        may_fail = "read_only" in names or other.batch_id == batch.batch_id
        jobs = [self.job(name, other, move, may_fail) for name in sorted(names)]
        with self.observing():
            self.all_shards(task, batch, jobs, may_fail)

    def run_suspended(
        self, batch: Batch, other: Batch, name: str, point: int, names: set[str], move: Move, another: Move
    ) -> None:
        """Suspend a task at a point while other tasks run; then resume it."""
        moves = [self.reference_file(move)] * (name == "move") + [self.reference_file(another)] * ("move" in names)
        for task in (validate, load) if name == "commit" else ():
            self.all_shards(task, batch, [])
        self.trees = possible(self.trees[0], moves)
        jobs = [self.job(each, other, another, True) for each in sorted(names)]
        with self.observing(), ThreadPoolExecutor(len(jobs)) as pool:
            with suspended(point, *self.call(name, batch, move)):
                doing = [pool.submit(job) for job in jobs]
                wait(doing, SUSPENDED_SECONDS)  # tasks that wait for a lock of the suspended task finish after it
            for each in doing:
                each.result(120)

    def call(self, name: str, batch: Batch, move: Move) -> tuple[Any, ...]:
        """Return a task and its arguments by name."""
        calls: dict[str, tuple[Any, ...]] = {
            "load": (load, batch),
            "commit": (commit, batch),
            "discard": (discard, batch),
            "undo": (undo, "run", batch.batch_id),
            "gc": (gc, "run", self.harness.bucket, batch.batch_id),
            "compact": (compact, "run"),
            "move": (move_tree, self.reference_file(move)),
        }
        return calls[name]

    def job(self, name: str, other: Batch, move: Move, may_fail: bool) -> Callable[[], Any]:
        """Return the function that runs another task."""
        if name in ("analyze", "read_only"):
            return partial({"analyze": analyze, "read_only": demote}[name], self.harness.database)
        return partial(perform, *self.call(name, other, move), may_fail=may_fail)

    def all_shards(self, task: Task, batch: Batch, jobs: list[Callable[[], Any]], may_fail: bool = False) -> None:
        """Run all shards of a task and these jobs concurrently."""
        count = batch.shards if task in (validate, load) else 1
        shards = [partial(perform, task, replace(batch, shard=shard), may_fail=may_fail) for shard in range(count)]
        with ThreadPoolExecutor(count + len(jobs)) as pool:
            for each in [pool.submit(do) for do in (*shards, *jobs)]:
                each.result(120)

    def move(self, move: Move, point: int) -> None:
        """Move or add ports and regions; with a point, the task is killed there."""
        file = self.reference_file(move)
        self.trees = possible(self.trees[0], [file])
        if not perform(move_tree, file, point=point):
            self.trees = self.trees[-1:]

    def two_moves(self, first: Move, second: Move) -> None:
        """Change the tree twice concurrently."""
        files = [self.reference_file(move) for move in (first, second)]
        self.trees = possible(self.trees[0], files)
        with self.observing(), ThreadPoolExecutor(2) as pool:
            list(pool.map(partial(perform, move_tree), files))

    def reference_file(self, move: Move) -> Reference:
        """Return the file of reference data for a move of the current tree."""
        kind, seed = move
        return change(random.Random(seed), self.trees[0], PORTS, kind)

    def undo_batch(self, batch: Batch, point: int) -> None:
        """Undo a batch in any state."""
        perform(undo, "run", batch.batch_id, point=point)

    def compact_all(self, point: int, count: int) -> None:
        """Compact rates and merge tables of prices, possibly in two processes at once."""
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda at: perform(compact, "run", point=point * at), range(1, count + 1)))

    def collect_garbage(self, batch: Batch, point: int, count: int) -> None:
        """Run gc for one batch, possibly in two processes at once."""
        work = partial(perform, gc, "run", self.harness.bucket, batch.batch_id)
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda at: work(point=point * at), range(1, count + 1)))

    def rotate(self) -> None:
        """Switch the login of later tasks to the other user, and update the planner's statistics."""
        os.environ["DATABASE_URL"] = next(self.logins)
        analyze(self.harness.database)

    def read_only(self, batch: Batch, task: Task) -> None:
        """Run a task on a read-only server; it must fail with a transient error."""
        set_read_only(self.harness.database, "on")
        try:
            with connected(task.__name__) as connection:
                call_task(task, connection, batch)
            raise AssertionError(f"{task.__name__} ran on a read-only server")
        except TransientError:
            pass
        finally:
            set_read_only(self.harness.database, "off")

    @contextmanager
    def observing(self) -> Iterator[None]:
        """Take and check snapshots continuously until the end of the block."""
        end, violations = [], []

        def observe() -> None:
            before = self.before
            while not end:
                now = take_snapshot(self.harness.database.url)
                violations.extend(find_violations(now, self.sent))
                violations.extend(regressions(before, now) if before else [])
                before = now

        with ThreadPoolExecutor(1) as pool:
            observer = pool.submit(observe)
            try:
                yield
            finally:
                end.append(True)
            observer.result(60)
        assert violations == []

    @invariant()
    def invariants_hold(self) -> None:
        """Check the invariants after each step, in one snapshot."""
        now = take_snapshot(self.harness.database.url)
        states = {name: entry.state for name, entry in now.ledger.items()}
        for name, before in self.states.items():
            assert states.get(name) in MAY_FOLLOW[before], f"{name} went from {before} to {states.get(name)}"
            assert states.get(name) != "rejected" or self.sent[name].bad_line
        assert find_violations(now, self.sent) == []
        assert self.before is None or regressions(self.before, now) == []
        assert now.tree in self.trees
        self.states = {name: states.get(name) for name in self.states}
        self.trees, self.before = [now.tree], now

    def teardown(self) -> None:
        """Run gc, after which only committed batches remain; undo them, after which nothing remains."""
        query = self.harness.database.query
        try:
            self.close_all()
            assert "open" not in self.states.values()
            committed = [name for name, state in self.states.items() if state == "committed"]
            assert query("SELECT DISTINCT batch_id FROM prices JOIN batches USING (batch_no) ORDER BY 1") == [
                (name,) for name in sorted(committed)
            ]
            for name in committed:
                perform(undo, "run", name)
            self.close_all()
            for table in ("rates", "prices", "price_tables", "visible_batches WHERE batch_no <> 0"):
                assert query(f"SELECT FROM {table}") == [], table
        finally:
            drop_database(self.harness.database.server, self.harness.database.name)

    def close_all(self) -> None:
        """Run gc and compaction for everything, and check that nothing else remains."""
        perform(gc, "run", self.harness.bucket, "all")
        perform(compact, "run")
        self.invariants_hold()
        wait_for(lambda: self.harness.database.query(LEFTOVERS) == [])  # a session may end after its task
