"""Bounds the number of tables: the prices of old batches, one table each, are merged into tables of many batches.

Only queries on `prices` wait for this, for the moment in which the tables are swapped. The API never reads `prices`.
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

# Tables that are left after merging, and the approximate maximum of rows in a merged table.
MAX_TABLES, MAX_ROWS = 128, 10_000_000
# Tables in one merge. It locks each with its index; max_locks_per_transaction × max_connections bounds all locks.
GROUP_TABLES = 200
# A batch number is assigned before its ledger row is visible. After this time no older number can appear.
MINUTES = 60

# One row per table of prices: its range of batch numbers and its number of rows by the ledger. Without recent tables.
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
    """The prices of the batches numbered `first` to `last`, `rows` of them."""

    first: int
    last: int
    rows: int


def merges(
    connection: "Connection", most: int = MAX_TABLES, rows: int = MAX_ROWS, minutes: int = MINUTES
) -> Iterator[Piece]:
    """Yield the merges of tables of prices, oldest first, that leave about `most` tables."""
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
        # A single attempt, since each attempt copies the rows before it requests the lock.
        retry_on_lock(connection, lambda cursor: cursor.execute("SELECT merge_prices(%s, %s)", bounds), seconds=0)
    except errors.LockNotAvailable as error:
        raise task_error(error) from error


def groups(tables: list[Table], rows: int, most: int = GROUP_TABLES) -> Iterator[list[Table]]:
    """Yield groups of 2 to `most` adjacent tables with at most `rows` rows together.

    A table with at least half of `rows` is left out: it would be copied again in every run.
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
