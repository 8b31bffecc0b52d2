"""A batch's life as a machine of states, driven by Hypothesis in any order against a real database and bucket.

Tasks run as they are, or die at one of their points between two statements. After each step the ledger, the prices
and the rates must agree with a recount of the files; at the end gc must leave nothing behind.

RATESFLOW_MODEL_EXAMPLES and RATESFLOW_MODEL_STEPS choose a longer search.
"""

import itertools
import os
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from loader.batch import Batch
from loader.commit import commit
from loader.compact import compact
from loader.database import connected
from loader.discard import discard
from loader.errors import ClosedError, TaskError, UsageError
from loader.gc import gc
from loader.load import load
from loader.undo import undo
from loader.validate import validate
from local.postgres import VERSION
from tests.faults.contents import Content
from tests.faults.dying import run_until
from tests.faults.invariants import LEFT, PRICES, RATES
from tests.fix_database import Database, run_alone
from tests.loader.conftest import Desk

EXAMPLES = int(os.environ.get("RATESFLOW_MODEL_EXAMPLES", "8"))
STEPS = int(os.environ.get("RATESFLOW_MODEL_STEPS", "24"))
TASKS: list[Callable[..., Any]] = [validate, load, commit, discard]
# From each state of the ledger to those that may follow; None is a batch that has no row yet.
MAY_FOLLOW = {
    None: {None, "open", "committed", "rejected", "duplicate", "failed", "undone"},
    "open": {"open", "committed", "rejected", "duplicate", "failed", "undone"},
    "committed": {"committed", "undone"},
    "rejected": {"rejected"},
    "duplicate": {"duplicate"},
    "failed": {"failed"},
    "undone": {"undone"},
}
_numbers = itertools.count(1)


class Life(RuleBasedStateMachine):
    """Batches of a few contents, in one fresh database."""

    batches = Bundle("batches")

    def __init__(self, make_desk: Callable[[], Desk]) -> None:
        super().__init__()
        self.desk = make_desk()
        self.sent: dict[str, Content] = {}
        self.states: dict[str, str | None] = {}

    @initialize(target=batches)
    def begin(self) -> Batch:
        """There is always one batch to work on."""
        return self.send(Content(0, rows=24), 1)

    @rule(target=batches, number=st.integers(0, 3), bad=st.booleans(), shards=st.sampled_from([1, 1, 2]))
    def another(self, number: int, bad: bool, shards: int) -> Batch:
        """Another batch arrives: new bytes, the same bytes again, or bytes that break the contract."""
        return self.send(Content(number + 10 * bad, rows=24, bad_line=7 if bad else 0), shards)

    def send(self, content: Content, shards: int) -> Batch:
        """Put a file into the bucket."""
        name = f"life-{next(_numbers)}"
        batch = self.desk.send(content.data, key=f"incoming/{name}.csv", batch_id=name)
        self.sent[name] = content
        self.states[name] = None
        return replace(batch, shards=shards)

    @rule(batch=batches, task=st.sampled_from(TASKS), shard=st.integers(0, 1), point=st.integers(0, 40))
    def work(self, batch: Batch, task: Callable[..., Any], shard: int, point: int) -> None:
        """A task runs, for the first time, again or too late; with a point, it dies there."""
        shard = min(shard, batch.shards - 1) if task in (validate, load) else 0
        self.run(task, replace(batch, shard=shard), point=point if point > 20 or point % 2 else 0)

    @rule(batch=batches)
    def whole(self, batch: Batch) -> None:
        """Everything that is left to do for a batch is done."""
        for task, shards in ((validate, batch.shards), (load, batch.shards), (commit, 1)):
            for shard in range(shards):
                self.run(task, replace(batch, shard=shard))

    @rule(batch=batches, point=st.integers(0, 16))
    def take_out(self, batch: Batch, point: int) -> None:
        """Somebody undoes a batch, whatever its state."""
        self.run(undo, "run", batch.batch_id, point=point if point % 2 else 0)

    @rule(point=st.integers(0, 16))
    def merge(self, point: int) -> None:
        """Rates are merged."""
        self.run(compact, "run", point=point if point % 2 else 0)

    @rule(point=st.integers(0, 16), batch=batches)
    def tidy(self, point: int, batch: Batch) -> None:
        """Gc closes one batch whose execution is over, and drops what was left."""
        self.run(gc, "run", self.desk.bucket, batch.batch_id, point=point if point % 2 else 0)

    def run(self, task: Callable[..., Any], *arguments: Any, point: int = 0) -> None:
        """Run a task here, or in a process that dies at a point; its own refusals are answers."""
        if point:
            run_until(point, task, *arguments)
            return
        with suppress(ClosedError, UsageError), connected(task.__name__) as connection:
            try:
                task(connection, *arguments)
            except TaskError as error:
                # Something that has not been done yet, or that another batch did in the meantime.
                if error.exit_code == 70 and not re.search("validated|send the file again", str(error)):
                    raise
                if error.exit_code == 75:
                    raise

    @invariant()
    def holds(self) -> None:
        """What must hold after each step."""
        self.states_follow()
        self.all_of_it_or_nothing()

    def states_follow(self) -> None:
        """A batch that is closed stays so, as what it was; only a committed one may be undone."""
        now = dict(self.desk.database.ask("SELECT batch_id, state FROM batches"))
        for name, before in self.states.items():
            assert now.get(name) in MAY_FOLLOW[before], f"{name} went from {before} to {now.get(name)}"
            if now.get(name) == "rejected":
                assert self.sent[name].bad_line
        self.states = {name: now.get(name) for name in self.states}

    def all_of_it_or_nothing(self) -> None:
        """Rates and committed prices are those of the committed files, counted anew; no bytes count twice."""
        committed = [self.sent[name] for name, state in self.states.items() if state == "committed"]
        assert max(Counter(content.number for content in committed).values(), default=1) == 1
        expected = {(*lane, content.day): sums for content in committed for lane, sums in content.sums.items()}
        found = self.desk.database.ask(RATES)
        assert {(orig, dest, day): (count, total) for orig, dest, day, count, total in found} == expected
        prices = self.desk.database.ask("SELECT orig_code, dest_code, day, price FROM committed_prices")
        assert Counter(prices) == Counter(row for content in committed for row in content.prices)

    def teardown(self) -> None:
        """Gc closes everything that is open; only what is committed is left."""
        try:
            self.run(gc, "run", self.desk.bucket, "all")
            self.run(compact, "run")
            self.holds()
            assert "open" not in self.states.values()
            assert self.desk.database.ask(LEFT) == []
            committed = {name for name, state in self.states.items() if state == "committed"}
            numbers = dict(self.desk.database.ask("SELECT batch_no, batch_id FROM batches"))
            assert {numbers[number] for number, *_ in self.desk.database.ask(PRICES)} == committed
        finally:
            run_alone(self.desk.database.server.url(), f"DROP DATABASE {self.desk.database.name} WITH (FORCE)")


@pytest.fixture
def make_desk(servers: Callable[[int], Any], desk18: Desk, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Desk]:
    """Makes a desk with a fresh database, in the bucket of the test."""

    def make() -> Desk:
        server, name = servers(VERSION), f"life_{next(_numbers)}"
        run_alone(server.url(), f"CREATE DATABASE {name} TEMPLATE template")
        database = Database(server, name)
        monkeypatch.setenv("DATABASE_URL", database.loader_url)
        return Desk(database, desk18.bucket, desk18.aws)

    return make


@pytest.mark.timeout(900)
def test_a_batch_is_in_or_out_whatever_happens_in_whatever_order(make_desk: Callable[[], Desk]) -> None:
    """Validate, load, commit, crash, retry, duplicate, undo, compact and gc in any order keep every invariant."""
    usual = EXAMPLES == 8
    run_state_machine_as_test(
        lambda: Life(make_desk),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=usual,
            database=None,
            phases=[Phase.generate] if usual else [Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
