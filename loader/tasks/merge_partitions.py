"""Keeps the number of tables bounded: merges partitions of the dataset's table, which hold one batch each at first.

Only queries on that table wait for it, for as long as the catalog changes. The API never reads that table.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from psycopg2 import errors

from ratesflow.database.lock_retries import retry_on_lock
from ratesflow.loader.runtime.connection import task_error
from ratesflow.loader.runtime.upkeep import Piece

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

# The number of tables that needs no merge, and the approximate maximum of rows in a merged table.
MAX_TABLES, MAX_ROWS = 128, 10_000_000
# Tables that one merge locks, each with its index, out of max_locks_per_transaction × max_connections for all sessions.
GROUP_TABLES = 200
# A batch gets its number before its row is visible. After this time, no number in between can still appear.
MINUTES = 60

# One row for each partition that holds no batch of the last hour: its numbers, and its rows according to the ledger.
_OLD = """
SELECT first, last,
       (SELECT coalesce(sum(rows), 0)::bigint FROM batches
        WHERE batch_no BETWEEN first AND last AND state = 'committed')
FROM price_tables
WHERE last < ALL (
    SELECT batch_no FROM batches WHERE state = 'open' OR opened_at > now() - %s * interval '1 minute'
)
ORDER BY first
"""


@dataclass(frozen=True)
class Table:
    """A partition with the `rows` rows of the batches numbered `first` to `last`."""

    first: int
    last: int
    rows: int


def merges(
    connection: "Connection", most: int = MAX_TABLES, rows: int = MAX_ROWS, minutes: int = MINUTES
) -> Iterator[Piece]:
    """Yield merges of partitions, oldest first, that leave about `most`."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM price_tables")
        ((count,),) = cursor.fetchall()
        excess = count - most
        if excess <= 0:
            return
        cursor.execute(_OLD, (minutes,))
        tables = [Table(*row) for row in cursor.fetchall()]
    for group in groups(tables, rows):
        if excess <= 0:
            break
        excess -= len(group) - 1
        yield f"merge of tables {group[0].first} to {group[-1].last}", partial(_merge, connection, group)


def _merge(connection: "Connection", group: list[Table]) -> None:
    bounds = (group[0].first, group[-1].last)
    try:
        # One attempt: it copies first and requests the lock afterwards.
        retry_on_lock(connection, lambda cursor: cursor.execute("SELECT merge_prices(%s, %s)", bounds), seconds=0)
    except errors.LockNotAvailable as error:
        raise task_error(error) from error


def groups(tables: list[Table], rows: int, most: int = GROUP_TABLES) -> Iterator[list[Table]]:
    """Yield groups of two or more neighbouring tables, each with at most `rows` rows and `most` tables.

    A table with half of the rows or more is in no group: every run would copy it again.
    """
    group: list[Table] = []
    for table in [*tables, Table(0, 0, rows)]:
        full = 2 * table.rows >= rows
        if full or len(group) == most or sum(each.rows for each in group) + table.rows > rows:
            if len(group) > 1:
                yield group
            group = []
        if not full:
            group.append(table)
