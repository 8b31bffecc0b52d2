"""Waiting for locks without blocking others: a short attempt, a rollback, and another attempt after a pause.

In PostgreSQL, later requests queue behind a session that waits for a lock. A lock that conflicts with readers or loads
is therefore requested for `LOCK_SECONDS` at most; between attempts the transaction is rolled back.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from psycopg2 import errors

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

T = TypeVar("T")

LOCK_SECONDS = 2.0
# The total wait: longer than an ANALYZE or a merge of tables takes, shorter than the hour that a task may run.
TIMEOUT_SECONDS = 1200.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 5.0

# Keys of advisory locks; any fixed numbers. Each guards work that must not run twice at once, or beside other work.
MIGRATION_LOCK = 7_283_729
COMPACTION_LOCK = 7_283_730
UNDO_LOCK = 7_283_734
TREE_LOCK = 7_283_732
"""Held exclusively while rates move to a new tree of regions, and shared while rates are merged."""


def retry_on_lock(
    connection: "Connection",
    work: Callable[["Cursor"], T],
    *,
    lock_seconds: float | None = None,
    seconds: float = TIMEOUT_SECONDS,
) -> T:
    """Run `work` in its own transaction, and retry it while others hold a lock that it needs.

    Each attempt waits for a lock for `lock_seconds`, or LOCK_SECONDS if that is None.

    Raises errors.LockNotAvailable or errors.DeadlockDetected when the attempts have taken longer than `seconds`.
    """
    limit = f"{int((lock_seconds or LOCK_SECONDS) * 1000)}ms"
    for last in attempts(seconds):
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", (limit,))
                return work(cursor)
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            if last:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


@contextmanager
def advisory_lock(
    connection: "Connection", lock: int, second: int = 0, *, seconds: float = TIMEOUT_SECONDS
) -> Iterator[None]:
    """Hold a session-level advisory lock with a key of two 32-bit numbers; wait for it without joining its queue.

    Raises errors.LockNotAvailable if others hold it for longer than `seconds`.
    """
    for last in attempts(seconds):
        if _try_lock(connection, lock, second):
            break
        if last:
            raise errors.LockNotAvailable(f"the lock {lock} was held by others for {seconds:.0f} seconds")
    try:
        yield
    finally:
        if not connection.closed:
            connection.rollback()
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", (lock, second))


def _try_lock(connection: "Connection", lock: int, second: int) -> bool:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", (lock, second))
        return cursor.fetchone() == (True,)


def attempts(seconds: float) -> Iterator[bool]:
    """Yield immediately, and then after increasing pauses; yield True for the last attempt."""
    deadline, pause = time.monotonic() + seconds, FIRST_PAUSE_SECONDS
    while time.monotonic() + pause < deadline:
        yield False
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    yield True
