"""Keeps the number of tables bounded: the prices of old batches, a table each, become tables of many batches.

Nobody waits for this but who reads prices themselves, for the blink in which the tables change places. The
API never reads them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from psycopg2 import errors

from ratesflow.database.lock_retries import retry_on_lock
from ratesflow.loader.runtime.connection import explained
from ratesflow.loader.runtime.upkeep import Piece

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

# So many tables are fine; a merged table grows up to about so many rows.
TABLES, ROWS = 128, 10_000_000
# Tables that one merge locks, each with its index, out of max_locks_per_transaction × max_connections for all.
GROUP_TABLES = 200
# Numbers of batches are given before their rows can be seen. After this time none can still appear in between.
MINUTES = 60

# One row a table of prices: the numbers that it holds and how many rows by the ledger, none of it of the last hour.
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


def merges(connection: "Connection", most: int = TABLES, rows: int = ROWS, minutes: int = MINUTES) -> Iterator[Piece]:
    """Yield the merges of tables of prices, oldest first, after which about `most` are left."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM price_tables")
        ((too_many,),) = cursor.fetchall()
        too_many -= most
        if too_many <= 0:
            return
        cursor.execute(_OLD, (minutes,))
        tables = [Table(*row) for row in cursor.fetchall()]
    for group in groups(tables, rows):
        if too_many <= 0:
            break
        too_many -= len(group) - 1
        yield f"merge of tables {group[0].first} to {group[-1].last}", partial(_merge, connection, group)


def _merge(connection: "Connection", group: list[Table]) -> None:
    bounds = (group[0].first, group[-1].last)
    try:
        # Once: it copies first, and then asks for the lock.
        retry_on_lock(connection, lambda cursor: cursor.execute("SELECT merge_prices(%s, %s)", bounds), seconds=0)
    except errors.LockNotAvailable as error:
        raise explained(error) from error


def groups(tables: list[Table], rows: int, most: int = GROUP_TABLES) -> Iterator[list[Table]]:
    """Yield neighbours that together have at most `rows` rows and are at most `most`; two at least.

    A table that has half of the rows by itself is left alone: it would be copied again at every run.
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
