"""The rates between regions, built anew from the rates between ports.

A batch brings its regions' rates with it, added up while it was validated. These statements are for the
rare times when that sum no longer fits the tree of regions: when reference data changes, and when it
changed between a batch's validation and its load. They count the same thing by another road, which a
test compares.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

# Lanes between regions of which one is among those given, for all batches or for one.
_DELETE = """
DELETE FROM rates
WHERE (batch_no = %(batch_no)s OR %(batch_no)s IS NULL)
  AND orig_code IN (SELECT slug FROM regions)
  AND dest_code IN (SELECT slug FROM regions)
  AND (orig_code = ANY (%(slugs)s) OR dest_code = ANY (%(slugs)s))
"""

_INSERT = """
INSERT INTO rates (batch_no, month, orig_code, dest_code, counts, sums)
SELECT batch_no, month, orig, dest, array_agg(count ORDER BY nth), array_agg(sum ORDER BY nth)
FROM (
    SELECT rates.batch_no, rates.month, o.slug AS orig, d.slug AS dest, days.nth,
           sum(days.count)::bigint AS count, sum(days.sum)::bigint AS sum
    FROM rates
    JOIN port_regions o ON o.code = rates.orig_code
    JOIN port_regions d ON d.code = rates.dest_code
    CROSS JOIN LATERAL unnest(rates.counts, rates.sums) WITH ORDINALITY AS days (count, sum, nth)
    WHERE (rates.batch_no = %(batch_no)s OR %(batch_no)s IS NULL)
      AND (o.slug = ANY (%(slugs)s) OR d.slug = ANY (%(slugs)s))
    GROUP BY rates.batch_no, rates.month, o.slug, d.slug, days.nth
) AS summed
GROUP BY batch_no, month, orig, dest
"""


def rebuild_regions(cursor: "Cursor", slugs: Sequence[str], batch_no: int | None = None) -> None:
    """Build anew the rates of all lanes that begin or end in one of the regions `slugs`.

    For every batch, hidden ones too, or only for `batch_no`. The caller holds the reference version.
    """
    if not slugs:
        return
    wanted = {"slugs": list(slugs), "batch_no": batch_no}
    cursor.execute(_DELETE, wanted)
    cursor.execute(_INSERT, wanted)


def rebuild_batch(cursor: "Cursor", batch_no: int) -> None:
    """Build anew all rates between regions of one batch, with the tree of regions as it is now."""
    cursor.execute("SELECT coalesce(array_agg(slug), '{}') FROM regions")
    row = cursor.fetchone()
    assert row is not None
    rebuild_regions(cursor, row[0], batch_no)
