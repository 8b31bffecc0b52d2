"""The life of some batches in one database, as a machine of states: what may happen, and what must hold after it.

Tasks run as they are, one by one or side by side with others, or die at one of their points between two statements.
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
from tests.faults.campaign.acts import (
    ACTS,
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
from tests.faults.campaign.dying import standing
from tests.faults.campaign.invariants import LEFT
from tests.faults.model.moving import change, possible
from tests.faults.readers.snapshots import Snapshot, faults, look, steps_back
from tests.fix_database import drop_database
from tests.loader.conftest import TaskHarness
from tests.loader.task_calls import call_task

_numbers = itertools.count(1)
# What needs no lock of the task that stands still is done by then.
HELD_SECONDS = 0.4


class Life(RuleBasedStateMachine):
    """Batches of a few contents, in one fresh database; `logins` are the users that its tasks log in as, in turn."""

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
        """Some batches are there from the first on, and two of them are committed."""
        kinds = (0, False, 1, False), (1, False, 8, False), (2, bad, 2, False), (0, False, 1, True)
        batches = [self.send(*kind) for kind in kinds]
        for batch in batches[:2]:
            self.whole(batch, moves)
        return multiple(*batches)

    @rule(target=batches, batch=batches, other=batches, act=ACTS)
    def do(self, batch: Batch, other: Batch, act: tuple[Any, ...]) -> MultipleResults[Batch]:
        """Something happens, to a batch and perhaps another, or to the database."""
        name, *values = act
        about = {"beside": (batch, other), "held": (batch, other)}
        about |= dict.fromkeys(("whole", "work", "redo", "take_out", "tidy", "read_only"), (batch,))
        made = getattr(self, name)(*about.get(name, ()), *values)
        return multiple(made) if made else multiple()

    def arrive(self, number: int, bad: bool, shards: int, force: bool) -> Batch:
        """Another batch arrives; of those that break the contract there are fewer."""
        return self.send(number, bad and number == 3, shards, force)

    def send(self, number: int, bad: bool, shards: int, force: bool) -> Batch:
        """Put a file into the bucket: new bytes, the same bytes again, or bytes that break the contract."""
        content = Content(number + 10 * bad, rows=24 + 48 * (number % 2), bad_line=7 if bad else 0)
        name = f"life-{next(_numbers)}"
        batch = self.harness.send(content.data, key=f"incoming/{name}.csv", batch_id=name, force=force)
        return self.know(replace(batch, shards=shards), content)

    def redo(self, batch: Batch) -> Batch:
        """The same object is started again, under another name."""
        return self.know(replace(batch, batch_id=f"life-{next(_numbers)}"), self.sent[batch.batch_id])

    def know(self, batch: Batch, content: Content) -> Batch:
        """Remember what a batch is."""
        self.sent[batch.batch_id] = content
        self.states[batch.batch_id] = None
        return batch

    def work(self, batch: Batch, task: Task, shard: int, point: int) -> None:
        """A task runs, for the first time, again or too late; with a point, it dies there."""
        shard = min(shard, batch.shards - 1) if task in (validate, load) else 0
        perform(task, replace(batch, shard=shard), point=point)

    def whole(self, batch: Batch, moves: list[Move | None]) -> None:
        """Everything that is left to do for a batch is done, and the tree changes before some of its tasks."""
        for task, move in zip((validate, load, commit), moves, strict=True):
            if move:
                self.move(move, 0)
                self.holds()
            self.all_shards(task, batch, [])

    def beside(self, batch: Batch, other: Batch, task: Task, names: set[str], move: Move) -> None:
        """All shards of a task run side by side with other tasks, while somebody looks at every moment."""
        self.trees = possible(self.trees[0], [self.file(move)] if "move" in names else [])
        may_pass = "read_only" in names or other.batch_id == batch.batch_id
        jobs = [self.job(name, other, move, may_pass) for name in sorted(names)]
        with self.looking():
            self.all_shards(task, batch, jobs, may_pass)

    def held(
        self, batch: Batch, other: Batch, name: str, point: int, names: set[str], move: Move, another: Move
    ) -> None:
        """A task stands still at a point while others do what they can without it; then it goes on."""
        moves = [self.file(move)] * (name == "move") + [self.file(another)] * ("move" in names)
        for task in (validate, load) if name == "commit" else ():
            self.all_shards(task, batch, [])
        self.trees = possible(self.trees[0], moves)
        jobs = [self.job(each, other, another, True) for each in sorted(names)]
        with self.looking(), ThreadPoolExecutor(len(jobs)) as pool:
            with standing(point, *self.call(name, batch, move)):
                doing = [pool.submit(job) for job in jobs]
                wait(doing, HELD_SECONDS)  # what needs what the other holds goes on after it
            for each in doing:
                each.result(120)

    def call(self, name: str, batch: Batch, move: Move) -> tuple[Any, ...]:
        """Return a task and its arguments."""
        about: dict[str, tuple[Any, ...]] = {
            "load": (load, batch),
            "commit": (commit, batch),
            "discard": (discard, batch),
            "undo": (undo, "run", batch.batch_id),
            "gc": (gc, "run", self.harness.bucket, batch.batch_id),
            "compact": (compact, "run"),
            "move": (move_tree, self.file(move)),
        }
        return about[name]

    def job(self, name: str, other: Batch, move: Move, may_pass: bool) -> Callable[[], Any]:
        """Return what one of the others does."""
        if name in ("analyze", "read_only"):
            return partial({"analyze": analyze, "read_only": demote}[name], self.harness.database)
        return partial(perform, *self.call(name, other, move), may_pass=may_pass)

    def all_shards(self, task: Task, batch: Batch, jobs: list[Callable[[], Any]], may_pass: bool = False) -> None:
        """Run all shards of a task, and these jobs, side by side."""
        count = batch.shards if task in (validate, load) else 1
        shards = [partial(perform, task, replace(batch, shard=shard), may_pass=may_pass) for shard in range(count)]
        with ThreadPoolExecutor(count + len(jobs)) as pool:
            for each in [pool.submit(do) for do in (*shards, *jobs)]:
                each.result(120)

    def move(self, move: Move, point: int) -> None:
        """Reference data moves ports and regions, or adds some; with a point, its task dies there."""
        file = self.file(move)
        self.trees = possible(self.trees[0], [file])
        if not perform(move_tree, file, point=point):
            self.trees = self.trees[-1:]

    def two_moves(self, first: Move, second: Move) -> None:
        """Two people change the tree at once: one comes after the other."""
        files = [self.file(move) for move in (first, second)]
        self.trees = possible(self.trees[0], files)
        with self.looking(), ThreadPoolExecutor(2) as pool:
            list(pool.map(partial(perform, move_tree), files))

    def file(self, move: Move) -> Reference:
        """Return the file of reference data that a move means now."""
        kind, seed = move
        return change(random.Random(seed), self.trees[0], PORTS, kind)

    def take_out(self, batch: Batch, point: int) -> None:
        """Somebody undoes a batch, whatever its state."""
        perform(undo, "run", batch.batch_id, point=point)

    def merge(self, point: int, count: int) -> None:
        """Rates and tables of prices are merged, perhaps by two at once."""
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda at: perform(compact, "run", point=point * at), range(1, count + 1)))

    def tidy(self, batch: Batch, point: int, count: int) -> None:
        """Gc closes one batch whose execution is over, and drops what was left; perhaps two of it at once."""
        work = partial(perform, gc, "run", self.harness.bucket, batch.batch_id)
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda at: work(point=point * at), range(1, count + 1)))

    def rotate(self) -> None:
        """From now on tasks log in as the other of two users, and the planner knows all tables as they are now."""
        os.environ["DATABASE_URL"] = next(self.logins)
        analyze(self.harness.database)

    def read_only(self, batch: Batch, task: Task) -> None:
        """The server takes no writes, and a task gives up for this time, with nothing done."""
        set_read_only(self.harness.database, "on")
        try:
            with connected(task.__name__) as connection:
                call_task(task, connection, batch)
            raise AssertionError(f"{task.__name__} ran on a server that takes no writes")
        except TransientError:
            pass
        finally:
            set_read_only(self.harness.database, "off")

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Let somebody look at every moment, from now on to the end of the block."""
        end, wrong = [], []

        def keep_looking() -> None:
            before = self.before
            while not end:
                now = look(self.harness.database.url)
                wrong.extend(faults(now, self.sent))
                wrong.extend(steps_back(before, now) if before else [])
                before = now

        with ThreadPoolExecutor(1) as pool:
            looking = pool.submit(keep_looking)
            try:
                yield
            finally:
                end.append(True)
            looking.result(60)
        assert wrong == []

    @invariant()
    def holds(self) -> None:
        """What must hold after each step, all of it in one snapshot."""
        now = look(self.harness.database.url)
        states = {name: entry.state for name, entry in now.ledger.items()}
        for name, before in self.states.items():
            assert states.get(name) in MAY_FOLLOW[before], f"{name} went from {before} to {states.get(name)}"
            assert states.get(name) != "rejected" or self.sent[name].bad_line
        assert faults(now, self.sent) == []
        assert self.before is None or steps_back(self.before, now) == []
        assert now.tree in self.trees
        self.states = {name: states.get(name) for name in self.states}
        self.trees, self.before = [now.tree], now

    def teardown(self) -> None:
        """Gc closes everything that is open; only what is committed is left, and nothing once that is undone."""
        ask = self.harness.database.ask
        try:
            self.close_all()
            assert "open" not in self.states.values()
            committed = [name for name, state in self.states.items() if state == "committed"]
            assert ask("SELECT DISTINCT batch_id FROM prices JOIN batches USING (batch_no) ORDER BY 1") == [
                (name,) for name in sorted(committed)
            ]
            for name in committed:
                perform(undo, "run", name)
            self.close_all()
            for table in ("rates", "prices", "price_tables", "visible_batches WHERE batch_no <> 0"):
                assert ask(f"SELECT FROM {table}") == [], table
        finally:
            drop_database(self.harness.database.server, self.harness.database.name)

    def close_all(self) -> None:
        """Tidy and merge everything, which leaves nothing but what counts."""
        perform(gc, "run", self.harness.bucket, "all")
        perform(compact, "run")
        self.holds()
        assert self.harness.database.ask(LEFT) == []
