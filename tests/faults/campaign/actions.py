"""The actions of the model of batches, which Hypothesis chooses, and the functions that perform them."""

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
from tests.faults.campaign.interrupted_tasks import run_until_killed
from tests.faults.model.tree_changes import KINDS
from tests.fix_database import Database, run_alone
from tests.loader.task_calls import call_task

Task = Callable[..., Any]
Move = tuple[str, int]
"""A kind of change of the region tree, and the seed of its details."""

TASKS: list[Task] = [validate, load, commit, discard]
OTHERS = ("commit", "discard", "undo", "gc", "compact", "move", "analyze", "read_only")
SUSPENDABLE = ("load", "commit", "undo", "move", "compact", "gc")
# The ledger states that may follow each state; None is a batch without a row.
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


def _action(weight: int, name: str, *arguments: st.SearchStrategy[Any]) -> list[st.SearchStrategy[tuple[Any, ...]]]:
    return [st.tuples(st.just(name), *arguments)] * weight


# One rule for all actions: with many rules, most examples would omit most of them.
ACTIONS = st.one_of(
    *_action(5, "run_all_tasks", st.lists(st.none() | MOVES, min_size=3, max_size=3)),
    *_action(5, "run_concurrently", st.sampled_from([*TASKS, load]), _others, MOVES),
    *_action(5, "run_suspended", st.sampled_from(SUSPENDABLE), st.integers(1, 24), _others, MOVES, MOVES),
    *_action(3, "run_task", st.sampled_from(TASKS), st.integers(0, 7), _points | st.just(0)),
    *_action(3, "send_batch", st.integers(0, 3), st.booleans(), _shards, st.booleans()),
    *_action(1, "redo"),
    *_action(2, "move", MOVES, _points | st.integers(20, 44)),
    *_action(1, "two_moves", MOVES, MOVES),
    *_action(2, "undo_batch", _points),
    *_action(2, "compact_all", _points, st.integers(1, 2)),
    *_action(1, "collect_garbage", _points, st.integers(1, 2)),
    *_action(1, "rotate"),
    *_action(1, "read_only", st.sampled_from(TASKS)),
)


def move_tree(connection: Any, file: Reference) -> None:
    """Load reference data as its task does; ignore an invalid file."""
    with suppress(ReferenceDataError):
        reference_change.load(connection, file)


def perform(task: Task, *arguments: Any, point: int = 0, may_fail: bool = False) -> bool:
    """Run a task here, or in a process that is killed at a fault point; return whether it was. Ignore rejections.

    With `may_fail`, ignore transient errors, too: another task may have terminated its session or closed its batch.
    """
    if point:
        return run_until_killed(point, task, *arguments, low_limits=True)
    try:
        with connected(task.__name__) as connection:
            call_task(task, connection, *arguments)
    except (ClosedError, UsageError):
        pass
    except TransientError:
        if not may_fail:
            raise
    except TaskError as error:
        # An earlier task is unfinished, or another task did this one's work meanwhile.
        if not re.search("validated|send the file again", str(error)):
            raise
    return False


def analyze(database: Database) -> None:
    """Update the planner's statistics of all tables, including the catalogs."""
    run_alone(database.url, "ANALYZE")


def set_read_only(database: Database, value: str) -> None:
    """Set with "on" or "off" whether new sessions are read-only, as on a standby."""
    run_alone(database.server.url(), f"ALTER DATABASE {database.name} SET default_transaction_read_only = {value}")


def demote(database: Database) -> None:
    """Make the server read-only, terminate the tasks' sessions, and make it writable again at once."""
    set_read_only(database, "on")
    database.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE starts_with(application_name, 'ratesflow-') AND datname = current_database()"
    )
    set_read_only(database, "off")
