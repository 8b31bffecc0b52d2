"""Keep the rates between regions correct when the tree of regions changes.

Validation computes the rates of a batch for its regions too. In every snapshot the rates of a region are the sum of
the rates of the ports under it, by the tree in the same snapshot. Two statements ensure this:

* the rates of a batch that is still hidden are recomputed with the current tree;
* for visible rates, a change of the tree is stored as a batch: the counts and sums of the moved ports' lanes are
  subtracted from the regions above them in the old tree and added to those in the new one. It is written hidden and
  becomes visible in the same commit as the new tree.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ratesflow.database.lanes import mark_lanes
from ratesflow.database.versions import lock_reference_version

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

    from ratesflow.database.reference import Reference

_DELETE = """
DELETE FROM rates
WHERE batch_no = %(batch_no)s
  AND orig_code IN (SELECT slug FROM regions)
  AND dest_code IN (SELECT slug FROM regions)
"""

# First sum by direct parents, which form few pairs, then go up the tree from there.
_INSERT = """
INSERT INTO rates (batch_no, month, orig_code, dest_code, counts, sums)
WITH RECURSIVE up (slug, above) AS (
    SELECT slug, slug FROM regions
    UNION ALL
    SELECT up.slug, regions.parent_slug
    FROM up JOIN regions ON regions.slug = up.above
    WHERE regions.parent_slug IS NOT NULL
), direct AS MATERIALIZED (
    SELECT rates.month, o.parent_slug AS orig, d.parent_slug AS dest, days.nth,
           sum(days.count) AS count, sum(days.sum) AS sum
    FROM rates
    JOIN ports o ON o.code = rates.orig_code
    JOIN ports d ON d.code = rates.dest_code
    CROSS JOIN LATERAL unnest(rates.counts, rates.sums) WITH ORDINALITY AS days (count, sum, nth)
    WHERE rates.batch_no = %(batch_no)s
    GROUP BY rates.month, o.parent_slug, d.parent_slug, days.nth
)
SELECT %(batch_no)s, month, orig, dest, array_agg(count ORDER BY nth), array_agg(sum ORDER BY nth)
FROM (
    SELECT direct.month, o.above AS orig, d.above AS dest, direct.nth,
           sum(direct.count)::bigint AS count, sum(direct.sum)::bigint AS sum
    FROM direct
    JOIN up o ON o.slug = direct.orig
    JOIN up d ON d.slug = direct.dest
    GROUP BY direct.month, o.above, d.above, direct.nth
) AS summed
GROUP BY month, orig, dest
"""

# Lanes that begin in a moved port, then lanes that begin elsewhere and end in one: each part uses the index.
_MOVE = """
INSERT INTO rates (batch_no, month, orig_code, dest_code, counts, sums)
WITH parents AS (
    SELECT * FROM unnest(%(codes)s::text[], %(olds)s::text[], %(news)s::text[]) AS parent (code, old, new)
), old_up AS (
    SELECT * FROM unnest(%(old_slugs)s::text[], %(old_aboves)s::text[]) AS line (slug, above)
), new_up AS (
    SELECT * FROM unnest(%(new_slugs)s::text[], %(new_aboves)s::text[]) AS line (slug, above)
), lanes AS (
    SELECT month, orig_code, dest_code, counts, sums
    FROM rates
    WHERE batch_no = ANY (%(batches)s) AND orig_code = ANY (%(moved)s){not_merged}
    UNION ALL
    SELECT rates.month, rates.orig_code, rates.dest_code, rates.counts, rates.sums
    FROM unnest(%(others)s::text[]) AS o (code)
    CROSS JOIN unnest(%(moved)s::text[]) AS d (code)
    JOIN rates ON rates.orig_code = o.code AND rates.dest_code = d.code
    WHERE rates.batch_no = ANY (%(batches)s){not_merged}
), direct AS MATERIALIZED (
    SELECT lanes.month, o.old AS old_orig, o.new AS new_orig, d.old AS old_dest, d.new AS new_dest, days.nth,
           sum(days.count) AS count, sum(days.sum) AS sum
    FROM lanes
    JOIN parents o ON o.code = lanes.orig_code
    JOIN parents d ON d.code = lanes.dest_code
    CROSS JOIN LATERAL unnest(lanes.counts, lanes.sums) WITH ORDINALITY AS days (count, sum, nth)
    GROUP BY lanes.month, o.old, o.new, d.old, d.new, days.nth
), both_ways AS (
    SELECT month, o.above AS orig, d.above AS dest, nth, -count AS count, -sum AS sum
    FROM direct JOIN old_up o ON o.slug = old_orig JOIN old_up d ON d.slug = old_dest
    UNION ALL
    SELECT month, o.above, d.above, nth, count, sum
    FROM direct JOIN new_up o ON o.slug = new_orig JOIN new_up d ON d.slug = new_dest
)
SELECT %(number)s, month, orig, dest, array_agg(count ORDER BY nth), array_agg(sum ORDER BY nth)
FROM (
    SELECT month, orig, dest, nth, sum(count)::bigint AS count, sum(sum)::bigint AS sum
    FROM both_ways GROUP BY month, orig, dest, nth
) AS summed
GROUP BY month, orig, dest
HAVING bool_or(count <> 0 OR sum <> 0)
"""


def fit_tree(cursor: "Cursor", batch_no: int, counted_with: int | None) -> None:
    """Lock the tree of regions until the transaction ends, and make the rates of a hidden batch match it.

    Usually they match already. If the tree has changed since they were computed, the rates of regions are recomputed.
    Only another change of the tree waits for the lock.
    """
    if lock_reference_version(cursor) != counted_with:
        _prepare(cursor)
        cursor.execute(_DELETE, {"batch_no": batch_no})
        cursor.execute(_INSERT, {"batch_no": batch_no})
        mark_lanes(cursor, batch_no)


def moved_ports(old: "Reference", new: "Reference") -> list[str]:
    """Return the ports of the old tree whose regions differ in the new one; new ports have no prices yet."""
    return [code for code, above in old.regions_of.items() if set(above) != set(new.regions_of[code])]


def move_rates(
    cursor: "Cursor", number: int, old: "Reference", new: "Reference", batches: Sequence[int], moved: Sequence[str]
) -> None:
    """Write the hidden batch `number`: by how much the region rates of these batches differ in the new tree.

    `moved` are all ports that move, or some of them: a lane between two moved ports belongs to its origin.
    """
    if not moved or not batches:
        return
    _prepare(cursor)
    values: dict[str, object] = {"number": number, "moved": list(moved), "batches": list(batches)}
    values["others"] = sorted(old.ports.keys() - set(moved_ports(old, new)))
    codes = values["codes"] = list(old.ports)
    values["olds"] = [old.ports[code].parent_slug for code in codes]
    values["news"] = [new.ports[code].parent_slug for code in codes]
    for name, tree in (("old", old), ("new", new)):
        lines = [(slug, above) for slug in tree.regions for above in tree.line(slug)]
        values[f"{name}_slugs"] = [slug for slug, _ in lines]
        values[f"{name}_aboves"] = [above for _, above in lines]
    # Without this condition the partial index of unmerged rates would not be used for more than a hundred batches.
    cursor.execute(_MOVE.format(not_merged="" if 0 in batches else " AND rates.batch_no <> 0"), values)


def _prepare(cursor: "Cursor") -> None:
    """Raise work_mem for sums of many lanes; turn off JIT, which would take longer than most of them run."""
    cursor.execute("SELECT set_config('work_mem', '64MB', true), set_config('jit', 'off', true)")
