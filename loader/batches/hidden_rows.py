"""Deletes the rows of batches that are not visible and will not become visible."""

from typing import TYPE_CHECKING

from psycopg2 import errors, sql

from ratesflow.database.lock_retries import retry_on_lock
from ratesflow.loader.dataset import Dataset
from ratesflow.loader.runtime.log import log

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

# Seconds to wait for queries on the dataset's table, and for merges of its partitions, before a partition is dropped.
DROP_SECONDS = 10.0
# Derived rows that are deleted in one transaction.
ROWS_AT_ONCE = 100_000

# Both use the index of unmerged rows, which needs the condition on number 0.
_DELETE = sql.SQL("DELETE FROM {table} WHERE batch_no = %s AND batch_no <> 0")
_DELETE_SOME = sql.SQL(
    "DELETE FROM {table} WHERE ctid = ANY (ARRAY("
    " SELECT ctid FROM {table} WHERE batch_no = %s AND batch_no <> 0 LIMIT %s))"
)


def delete_derived(cursor: "Cursor", dataset: Dataset, batch_no: int) -> None:
    """Delete the derived rows of a hidden batch in the current transaction."""
    cursor.execute(_DELETE.format(table=sql.Identifier(dataset.rollup.table)), (batch_no,))


def drop_rows(connection: "Connection", dataset: Dataset, batch_no: int) -> bool:
    """Drop the derived rows and the partition of a closed batch that is not visible, in several transactions.

    Return False when queries on the dataset's table, or a merge of its partitions, hold a lock for longer than
    DROP_SECONDS: gc then drops the partition later.
    """
    while _delete_some(connection, dataset.rollup.table, batch_no):
        pass

    def drop(cursor: "Cursor") -> None:
        cursor.execute("DELETE FROM changes WHERE batch_no = %s", (batch_no,))
        cursor.execute("SELECT drop_batch(%s)", (batch_no,))

    try:
        retry_on_lock(connection, drop, seconds=DROP_SECONDS)
    except (errors.LockNotAvailable, errors.DeadlockDetected) as error:
        log.info("gc will drop the partition", batch_no=batch_no, reason=str(error).strip())
        return False
    return True


def _delete_some(connection: "Connection", table: str, batch_no: int) -> int:
    """Delete some of the derived rows of a batch in a transaction of its own; return how many."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_DELETE_SOME.format(table=sql.Identifier(table)), (batch_no, ROWS_AT_ONCE))
        return cursor.rowcount
