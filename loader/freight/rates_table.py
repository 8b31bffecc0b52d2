"""The table `rates` as the rollup of freight prices: the SQL by which rates are copied, kept correct and merged.

A key is a lane: an origin and a destination. A lane has one row for each month and batch.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ratesflow.database.lanes import mark_lanes
from ratesflow.database.lock_retries import TREE_LOCK
from ratesflow.database.region_rates import fit_tree
from ratesflow.loader.dataset import MergeBlockedError

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

    from ratesflow.database.reference import Reference

# One statement, so that a reader sees either the merged rows or their sum.
_MERGE = """
WITH lanes AS (
    SELECT * FROM unnest(%(origs)s::text[], %(dests)s::text[]) AS lane (orig_code, dest_code)
), merged AS (
    DELETE FROM rates USING lanes
    WHERE rates.orig_code = lanes.orig_code COLLATE "C" AND rates.dest_code = lanes.dest_code COLLATE "C"
      AND (batch_no = 0 OR batch_no = ANY (%(batches)s))
    RETURNING rates.month, rates.orig_code, rates.dest_code, counts, sums
), days AS (
    SELECT month, orig_code, dest_code, nth, sum(day.count)::bigint AS count, sum(day.sum)::bigint AS sum
    FROM merged CROSS JOIN LATERAL unnest(counts, sums) WITH ORDINALITY AS day (count, sum, nth)
    GROUP BY month, orig_code, dest_code, nth
)
INSERT INTO rates (batch_no, month, orig_code, dest_code, counts, sums)
SELECT 0, month, orig_code, dest_code, array_agg(count ORDER BY nth), array_agg(sum ORDER BY nth)
FROM days
GROUP BY month, orig_code, dest_code
HAVING bool_or(count <> 0)
"""


class RatesTable:
    """Counts and sums of prices by lane and month."""

    table = "rates"
    copy = "COPY rates (batch_no, month, orig_code, dest_code, counts, sums) FROM STDIN WITH (ENCODING 'UTF8')"
    keys = """
SELECT DISTINCT orig_code, dest_code FROM rates
WHERE batch_no <> 0 AND batch_no = ANY (%(batches)s) ORDER BY orig_code, dest_code
"""

    def digest(self, shards: Iterable[Sequence[int]]) -> str:
        """Return the digest of a batch's rates from those of its shards, in hexadecimal."""
        from ratesflow.loader.freight.rates_digest import rates_digest

        return rates_digest(shards)

    def negative_rows(self, cursor: "Cursor", batch_no: int, reference: "Reference") -> tuple[Iterator[bytes], int]:
        """Return a committed batch's rates, counted again from its prices and negated, and the number of prices."""
        from ratesflow.loader.freight.recount import negative_rows, recounted

        counts, rows = recounted(cursor, batch_no, reference)
        return negative_rows(counts, batch_no, reference), rows

    def record_changes(self, cursor: "Cursor", batch_no: int) -> None:
        """Record the lanes of a hidden batch."""
        mark_lanes(cursor, batch_no)

    def match_reference(self, cursor: "Cursor", batch_no: int, version: int | None) -> None:
        """Lock the tree of regions, and make the rates of a hidden batch match it."""
        fit_tree(cursor, batch_no, version)

    def merge(self, cursor: "Cursor", batches: Sequence[int], keys: Sequence[tuple[Any, ...]]) -> None:
        """Merge the rates of these batches on some lanes. Raises MergeBlockedError while the tree of regions changes.

        A change of the tree records the batches that it has moved: no rates may move between batches meanwhile.
        """
        cursor.execute("SELECT pg_try_advisory_xact_lock_shared(%s, 0)", (TREE_LOCK,))
        if cursor.fetchone() != (True,):
            raise MergeBlockedError("a change of the tree of regions is running")
        origs, dests = zip(*keys, strict=True)
        cursor.execute(_MERGE, {"batches": list(batches), "origs": list(origs), "dests": list(dests)})
