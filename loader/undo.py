"""Undo: take exactly one committed batch out again, by opening its negative.

The negative has the number of the batch with a minus before it. Its rates are the batch's own, counted anew
from its prices and negated, so that both together are nothing; it does not matter whether the batch's rates
were merged with others meanwhile, or are being merged right now. One transaction counts, closes the ledger's
row and opens the negative. The prices are dropped later, by `gc`; the same file may be sent again at once.
"""

from typing import TYPE_CHECKING

from psycopg2 import sql

from database.lanes import mark_lanes
from database.region_rates import rebuild_batch
from database.versions import hold_reference_version, make_visible
from loader.errors import ClosedError, UsageError
from loader.ledger import COMMITTED, UNDONE, Entry, find_entry
from loader.results import Result

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

# Days without a price are zeros: every row has one element a day of its month.
_NEGATIVE = sql.SQL("""
INSERT INTO rates (batch_no, month, orig_code, dest_code, counts, sums)
SELECT -{number}, month, orig_code, dest_code,
       array_agg(-coalesce(count, 0) ORDER BY day), array_agg(-coalesce(sum, 0) ORDER BY day)
FROM (
    SELECT DISTINCT orig_code, dest_code, date_trunc('month', day)::date AS month
    FROM prices WHERE batch_no = {number}
) AS lanes
CROSS JOIN LATERAL (
    SELECT each::date AS day FROM generate_series(month, month + '1 mon -1 days'::interval, '1 day') AS each
) AS calendar
LEFT JOIN (
    SELECT orig_code, dest_code, day, count(*) AS count, sum(price)::bigint AS sum
    FROM prices WHERE batch_no = {number} GROUP BY orig_code, dest_code, day
) AS counted USING (orig_code, dest_code, day)
GROUP BY month, orig_code, dest_code
""")


def undo(connection: "Connection", run: str, batch_id: str) -> Result:
    """Make a committed batch invisible, all of it at once; a batch that is undone already stays so.

    Raises UsageError when there is no such batch, ClosedError when it was never committed.
    """
    with connection, connection.cursor() as cursor:
        entry = find_entry(cursor, batch_id, "FOR UPDATE")
        if entry is None:
            raise UsageError(f"there is no batch {batch_id}: `ratesflow batches` lists them")
        if entry.state == UNDONE:
            return Result("undo", run, UNDONE, entry.rows, message=f"batch {batch_id} was undone before")
        if entry.state != COMMITTED:
            raise ClosedError(f"batch {batch_id} is {entry.state}, not committed: there is nothing to undo")
        _open_negative(cursor, entry)
        cursor.execute(
            "UPDATE batches SET state = 'undone', closed_at = now(), message = %s WHERE batch_no = %s",
            (f"undone by {run}", entry.batch_no),
        )
        make_visible(cursor, -entry.batch_no)
    return Result("undo", run, UNDONE, entry.rows, message=f"batch {batch_id} is undone; its file may be sent again")


def _open_negative(cursor: "Cursor", entry: Entry) -> None:
    # The tree of regions stands still until this is visible, as it does for the rates that are stored.
    hold_reference_version(cursor)
    cursor.execute(_NEGATIVE.format(number=sql.Literal(entry.batch_no)))
    rebuild_batch(cursor, -entry.batch_no)
    mark_lanes(cursor, -entry.batch_no)
