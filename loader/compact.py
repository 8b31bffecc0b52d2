"""Compact: merge the rates of the open batches into those under number 0, so that reads stay as fast as at first.

A few lanes at a time, in short transactions: the rows of those lanes are deleted and their sum inserted, in
one statement, so that a reader sees the one or the other, with the same sum. When no row of a batch is left,
its number leaves the list of open batches. What was done stays right when this is killed at any point, and
the next run goes on from there. Nothing that a reader sees changes, so the data version does not move.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from database.versions import hold_reference_version
from loader import metrics
from loader.results import Result
from loader.tables import merge_tables

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

# Any fixed number: two compactions at once would wait for one another at every lane.
ADVISORY_LOCK = 7_283_730
# Lanes a transaction; a lane has a row a month and batch.
LANES = 200
# Seconds to rest after each transaction, as a share of its own time: readers share the machine.
REST = 0.5

_LANES = """
SELECT DISTINCT orig_code, dest_code FROM rates
WHERE batch_no <> 0 AND batch_no = ANY (%(batches)s) ORDER BY orig_code, dest_code
"""

_MERGE = """
WITH lanes AS (
    SELECT * FROM unnest(%(origs)s::text[], %(dests)s::text[]) AS lane (orig_code, dest_code)
), gone AS (
    DELETE FROM rates USING lanes
    WHERE rates.orig_code = lanes.orig_code COLLATE "C" AND rates.dest_code = lanes.dest_code COLLATE "C"
      AND (batch_no = 0 OR batch_no = ANY (%(batches)s))
    RETURNING rates.month, rates.orig_code, rates.dest_code, counts, sums
), days AS (
    SELECT month, orig_code, dest_code, nth, sum(day.count)::bigint AS count, sum(day.sum)::bigint AS sum
    FROM gone CROSS JOIN LATERAL unnest(counts, sums) WITH ORDINALITY AS day (count, sum, nth)
    GROUP BY month, orig_code, dest_code, nth
)
INSERT INTO rates (batch_no, month, orig_code, dest_code, counts, sums)
SELECT 0, month, orig_code, dest_code, array_agg(count ORDER BY nth), array_agg(sum ORDER BY nth)
FROM days
GROUP BY month, orig_code, dest_code
HAVING bool_or(count <> 0)
"""


def compact(connection: "Connection", run: str, least: int = 1) -> Result:
    """Merge the rates of all open batches if there are at least `least`; return how many batches were merged."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", (ADVISORY_LOCK,))
        if cursor.fetchone() != (True,):
            return Result("compact", run, "done", 0, message="another compaction is at work")
        cursor.execute("SELECT batch_no FROM open_batches WHERE batch_no <> 0 ORDER BY batch_no")
        batches = [number for (number,) in cursor.fetchall()]
    merged = _merge(connection, batches) if len(batches) >= max(least, 1) else 0
    away = merge_tables(connection)
    metrics.note_open_batches(connection)
    words = f"merged the rates of {merged} batches" if merged else f"{len(batches)} open batches; due at {least}"
    return Result("compact", run, "done", merged, message=words + (f"; {away} tables of prices fewer" if away else ""))


def _merge(connection: "Connection", batches: list[int]) -> int:
    """Merge the rates of these batches; return of how many no row of its own is left."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE data_version SET merged_version = greatest(merged_version,"
            " (SELECT max(version) FROM open_batches WHERE batch_no = ANY (%s)))",
            (batches,),
        )
        cursor.execute(_LANES, {"batches": batches})
        lanes = cursor.fetchall()
    for some in _pieces(lanes):
        began = time.monotonic()
        with connection, connection.cursor() as cursor:
            hold_reference_version(cursor)  # a change of regions rebuilds rows, and must not meet this
            origs, dests = zip(*some, strict=True)
            cursor.execute(_MERGE, {"batches": batches, "origs": list(origs), "dests": list(dests)})
        time.sleep((time.monotonic() - began) * REST)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM open_batches WHERE batch_no = ANY (%s)"
            " AND NOT EXISTS (SELECT FROM rates WHERE rates.batch_no = open_batches.batch_no AND batch_no <> 0)",
            (batches,),
        )
        return cursor.rowcount


def _pieces(lanes: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    for at in range(0, len(lanes), LANES):
        yield lanes[at : at + LANES]
