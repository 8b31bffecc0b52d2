"""Keeps the number of tables bounded: the prices of old batches, a table each, become tables of many batches.

Nobody waits for this but who reads prices themselves, for the blink in which the tables change places. The
API never reads them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

# So many tables are fine; a merged table grows up to about so many rows.
TABLES, ROWS = 128, 50_000_000
# Numbers of batches are given before their rows can be seen. After this time none can still appear in between.
MINUTES = 60

# One row a table of prices: the numbers that it holds and about how many rows, none of it of the last hour.
_OLD = """
SELECT first, last, greatest(reltuples, 0)::bigint FROM (
    SELECT reltuples, split_part(relname, '_', 2)::bigint AS first,
           coalesce(nullif(split_part(relname, '_', 3), ''), split_part(relname, '_', 2))::bigint AS last
    FROM pg_inherits JOIN pg_class ON oid = inhrelid
    WHERE inhparent = 'prices'::regclass
) AS tables
WHERE last < ALL (
    SELECT batch_no FROM batches WHERE state = 'open' OR opened_at > now() - %s * interval '1 minute'
)
ORDER BY first
"""


@dataclass(frozen=True)
class Table:
    """The prices of the batches numbered `first` to `last`, about `rows` of them."""

    first: int
    last: int
    rows: int


def merge_tables(connection: "Connection", most: int = TABLES, rows: int = ROWS, minutes: int = MINUTES) -> int:
    """Merge tables of prices, oldest first, until about `most` are left; return how many fewer there are."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_OLD, (minutes,))
        tables = [Table(*row) for row in cursor.fetchall()]
    away = 0
    for group in _groups(tables, rows):
        if len(tables) - away <= most:
            break
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT merge_prices(%s, %s)", (group[0].first, group[-1].last))
        away += len(group) - 1
    return away


def _groups(tables: list[Table], rows: int) -> Iterator[list[Table]]:
    """Yield neighbours that together have at most `rows` rows, two at least."""
    group: list[Table] = []
    for table in [*tables, None]:
        if table is None or (group and sum(each.rows for each in group) + table.rows > rows):
            if len(group) > 1:
                yield group
            group = []
        if table is not None:
            group.append(table)
