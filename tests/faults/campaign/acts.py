"""What may happen in the life of some batches, as Hypothesis draws it, and how each of it is done."""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import strategies as st

from ratesflow.database import reference_change
from ratesflow.database.reference import Reference, ReferenceDataError
from ratesflow.loader.runtime.connection import connected
from ratesflow.loader.runtime.errors import ClosedError, TaskError, TransientError, UsageError
from ratesflow.loader.tasks.commit import commit
from ratesflow.loader.tasks.discard import discard
from ratesflow.loader.tasks.load import load
from ratesflow.loader.tasks.validate import validate
from tests.faults.campaign.dying import run_until
from tests.faults.model.moving import KINDS
from tests.fix_database import Database, run_alone
from tests.loader.task_calls import call_task

Task = Callable[..., Any]
Move = tuple[str, int]
"""A kind of change of the tree, and the seed of what it changes."""

TASKS: list[Task] = [validate, load, commit, discard]
OTHERS = ("commit", "discard", "undo", "gc", "compact", "move", "analyze", "read_only")
HELD = ("load", "commit", "undo", "move", "compact", "gc")
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
MOVES = st.tuples(st.sampled_from(KINDS), st.integers(0, 1 << 30))
_points = st.integers(0, 20).map(lambda point: point if point % 2 else 0)
_others = st.sets(st.sampled_from(OTHERS), min_size=1, max_size=3)
_shards = st.sampled_from([1, 2, 3, 8])


def _acts(weight: int, name: str, *arguments: st.SearchStrategy[Any]) -> list[st.SearchStrategy[tuple[Any, ...]]]:
    return [st.tuples(st.just(name), *arguments)] * weight


# One rule for all acts, since of many rules most would be left out of most lives.
ACTS = st.one_of(
    *_acts(5, "whole", st.lists(st.none() | MOVES, min_size=3, max_size=3)),
    *_acts(5, "beside", st.sampled_from([*TASKS, load]), _others, MOVES),
    *_acts(5, "held", st.sampled_from(HELD), st.integers(1, 24), _others, MOVES, MOVES),
    *_acts(3, "work", st.sampled_from(TASKS), st.integers(0, 7), _points | st.just(0)),
    *_acts(3, "arrive", st.integers(0, 3), st.booleans(), _shards, st.booleans()),
    *_acts(1, "redo"),
    *_acts(2, "move", MOVES, _points | st.integers(20, 44)),
    *_acts(1, "two_moves", MOVES, MOVES),
    *_acts(2, "take_out", _points),
    *_acts(2, "merge", _points, st.integers(1, 2)),
    *_acts(1, "tidy", _points, st.integers(1, 2)),
    *_acts(1, "rotate"),
    *_acts(1, "read_only", st.sampled_from(TASKS)),
)


def move_tree(connection: Any, file: Reference) -> None:
    """Load reference data as its task does: a file that breaks the rules is refused."""
    with suppress(ReferenceDataError):
        reference_change.load(connection, file)


def perform(task: Task, *arguments: Any, point: int = 0, may_pass: bool = False) -> bool:
    """Run a task here, or in a process that dies at a point, and tell whether it did; its refusals are answers.

    With `may_pass` something else may have ended its session, or closed its batch.
    """
    if point:
        return run_until(point, task, *arguments, small=True)
    try:
        with connected(task.__name__) as connection:
            call_task(task, connection, *arguments)
    except (ClosedError, UsageError):
        pass
    except TransientError:
        if not may_pass:
            raise
    except TaskError as error:
        # Something that has not been done yet, or that another batch did in the meantime.
        if not re.search("validated|send the file again", str(error)):
            raise
    return False


def analyze(database: Database) -> None:
    """Let the planner know all tables as they are now, those of the catalogues too."""
    run_alone(database.url, "ANALYZE")


def set_read_only(database: Database, to: str) -> None:
    """Say with "on" or "off" whether new sessions are kept from writing, as those of a standby are."""
    run_alone(database.server.url(), f"ALTER DATABASE {database.name} SET default_transaction_read_only = {to}")


def demote(database: Database) -> None:
    """Make a server that takes no writes of it, whose sessions end, and the writer again at once."""
    set_read_only(database, "on")
    database.ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE starts_with(application_name, 'ratesflow-') AND datname = current_database()"
    )
    set_read_only(database, "off")
