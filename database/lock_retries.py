"""Waits for locks without making others wait: a short try, everything given back, and another try a little later.

Who waits for a lock in PostgreSQL makes others queue behind it. A lock that conflicts with readers or with loads is
therefore only asked for during `LOCK_SECONDS`; the transaction is rolled back in between.
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
# What is waited for in all: longer than an ANALYZE or a merge of tables takes, shorter than a task's hour.
PATIENCE_SECONDS = 1200.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 5.0

# Any fixed numbers: what must not happen twice at once, or beside something else.
MIGRATION_LOCK = 7_283_729
COMPACTION_LOCK = 7_283_730
UNDO_LOCK = 7_283_734
TREE_LOCK = 7_283_732
"""Held alone while rates are moved from one tree of regions to the next, shared by who merges rates meanwhile."""


def patiently(
    connection: "Connection",
    work: Callable[["Cursor"], T],
    *,
    lock_seconds: float | None = None,
    seconds: float = PATIENCE_SECONDS,
) -> T:
    """Run `work` in a transaction of its own, again and again while others hold a lock that it needs.

    Each try asks for a lock during `lock_seconds`, LOCK_SECONDS if that is None.

    Raises errors.LockNotAvailable or errors.DeadlockDetected when that lasts longer than `seconds`.
    """
    limit = f"{int((lock_seconds or LOCK_SECONDS) * 1000)}ms"
    for last in tries(seconds):
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", (limit,))
                return work(cursor)
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            if last:
                raise
    raise AssertionError("there is a last try")


@contextmanager
def holding(
    connection: "Connection", lock: int, second: int = 0, *, seconds: float = PATIENCE_SECONDS
) -> Iterator[None]:
    """Hold an advisory lock of the session, by two numbers of 32 bits, and wait for it without a place in its queue.

    Raises errors.LockNotAvailable when others hold it for longer than `seconds`.
    """
    for last in tries(seconds):
        if _try_lock(connection, lock, second):
            break
        if last:
            raise errors.LockNotAvailable(f"others have held the lock {lock} for {seconds:.0f} seconds")
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


def tries(seconds: float) -> Iterator[bool]:
    """Yield at once and then after ever longer pauses; True for the last time."""
    deadline, pause = time.monotonic() + seconds, FIRST_PAUSE_SECONDS
    while time.monotonic() + pause < deadline:
        yield False
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    yield True
