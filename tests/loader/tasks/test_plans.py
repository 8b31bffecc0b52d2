"""Each statement's work is in proportion to its data, whatever the shape of a batch and whatever is known of it.

The tasks run on a batch and on one of four times its size, with every statement explained as it runs. One that
touches nine times as many rows for four times as much data grows with the square, or something like it.
"""

import re
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, ClassVar

import pytest
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import Composable

from ratesflow.database import reference, reference_change
from ratesflow.database.reference import Port, Reference
from ratesflow.loader.runtime.connection import connected
from ratesflow.loader.tasks.commit import commit
from ratesflow.loader.tasks.compact import compact
from ratesflow.loader.tasks.gc import gc
from ratesflow.loader.tasks.load import load
from ratesflow.loader.tasks.undo import undo
from ratesflow.loader.tasks.validate import validate
from tests.loader.conftest import TaskHarness
from tests.loader.samples import Row, csv
from tests.loader.tasks.test_undo_and_compact import run

TIMES, TOO_MUCH = 4, 9
FEW = 5_000  # rows that a statement may touch in any case: the catalogues, the tree of regions
# What can be explained; locks of the session would be taken twice.
EXPLAINED = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b(?!.*_advisory_(lock|unlock|try))", re.DOTALL)
PORTS = sorted(reference.builtin().ports)


def few_lanes(size: int) -> list[Row]:
    """A long history: four lanes, a price on each day of years."""
    days = [date(1990, 1, 1) + timedelta(at) for at in range(size // 4)]
    return [("CNGGZ", dest, day, 9) for dest in ("EETLL", "NLRTM", "BEANR", "DEHAM") for day in days]


def many_lanes(size: int) -> list[Row]:
    """Every lane that there is, on some days each."""
    pairs = [(orig, dest) for orig in PORTS for dest in PORTS if orig != dest][: size // 2]
    return [(orig, dest, date(2021, 1, 1 + at % 28), 900) for at in range(2) for orig, dest in pairs]


def one_day(size: int) -> list[Row]:
    """Very many prices of one lane on one day."""
    return [("CNGGZ", "EETLL", date(2021, 1, 1), 100 + at) for at in range(size)]


class PlanCursor(Cursor):
    """Runs each statement twice: explained, which is rolled back, and then as it is."""

    work: ClassVar[Counter[str]] = Counter()

    def execute(self, query: Any, values: Any = None) -> None:
        """Add the rows that the statement touches to those of the same statement, and run it."""
        text = query.as_string(self) if isinstance(query, Composable) else query
        text = text.decode() if isinstance(text, bytes) else text
        if EXPLAINED.match(text):
            with self.connection.cursor(cursor_factory=Cursor) as other:
                other.execute("SAVEPOINT explained")
                other.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT json) {text}", values)
                ((found,),) = other.fetchall()
                other.execute("ROLLBACK TO SAVEPOINT explained; RELEASE SAVEPOINT explained")
            self.work[re.sub(r"'[^']*'|\d+", "?", text)] += touched(found[0]["Plan"])
        super().execute(query, values)


def touched(plan: dict[str, Any]) -> int:
    """Return how many rows a plan and its parts gave or threw away."""
    own = sum(plan.get(name, 0) for name in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter"))
    return int(own * plan.get("Actual Loops", 1)) + sum(touched(part) for part in plan.get("Plans", []))


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Counter[str]]:
    """Returns what each statement of the tasks has touched since it was asked last."""
    monkeypatch.setattr("ratesflow.loader.runtime.fault_injection.cursor_factory", lambda: PlanCursor)

    def taken() -> Counter[str]:
        work = Counter(PlanCursor.work)
        PlanCursor.work.clear()
        return work

    return taken


def life(harness: TaskHarness, prices: list[Row], name: str, *, analyse: bool) -> None:
    """A batch with everything that may happen to it, and nothing left of it in the end."""
    batch = harness.send(csv(prices), key=f"incoming/{name}.csv")
    harness.run(validate, batch)
    harness.run(load, batch)
    if analyse:
        harness.database.query("ANALYZE")
    move(harness, "CNGGZ", "china_main")  # so that the commit counts the regions once more
    harness.run(commit, batch)
    move(harness, "CNGGZ", "scandinavia")
    run(harness, compact)
    if analyse:
        harness.database.query("ANALYZE")
    run(harness, undo, batch.batch_id)
    run(harness, compact)
    run(harness, gc, harness.bucket)
    move(harness, "CNGGZ", reference.builtin().ports["CNGGZ"].parent_slug)


def move(harness: TaskHarness, code: str, slug: str) -> None:
    with connected("reference") as connection:
        reference_change.load(connection, Reference({code: Port(code, "Moved", slug)}, {}))


@pytest.mark.parametrize("analyse", [False, True], ids=["no-statistics", "analysed"])
@pytest.mark.parametrize(("shape", "size"), [(few_lanes, 6_000), (many_lanes, 3_000), (one_day, 6_000)])
def test_work_grows_with_the_data(
    harness18: TaskHarness,
    plans: Callable[[], Counter[str]],
    shape: Callable[[int], list[Row]],
    size: int,
    analyse: bool,
) -> None:
    """No statement of any task touches rows out of proportion to a batch that is four times as large."""
    plans()
    life(harness18, shape(size), "small", analyse=analyse)
    small = plans()
    life(harness18, shape(TIMES * size), "large", analyse=analyse)
    large = plans()
    assert any("both_ways" in statement and rows > 0 for statement, rows in large.items())
    wrong = {
        statement: (small[statement], rows)
        for statement, rows in large.items()
        if rows > FEW and rows > TOO_MUCH * max(small[statement], FEW // TOO_MUCH)
    }
    assert wrong == {}
