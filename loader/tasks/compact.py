"""Compact: merge the rates of the open batches into those under number 0, so that reads stay as fast as at first.

A few lanes at a time, in short transactions: the rows of those lanes are deleted and their sum inserted, in
one statement, so that a reader sees the one or the other, with the same sum. When no row of a batch is left,
its number leaves the list of open batches. What was done stays right when this is killed at any point, and
the next run goes on from there. Nothing that a reader sees changes, so the data version does not move.
"""

import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from ratesflow.database.lock_retries import COMPACTION_LOCK, TREE_LOCK
from ratesflow.loader.batches.results import Result
from ratesflow.loader.runtime import metrics
from ratesflow.loader.runtime.errors import TransientError
from ratesflow.loader.runtime.upkeep import Piece, Upkeep
from ratesflow.loader.tasks.merge_partitions import merges
from ratesflow.loader.tasks.registry import Limits, Task

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

# Lanes a transaction; a lane has a row a month and batch.
LANES = 200
# Seconds to rest after each transaction, as a share of its own time: readers share the machine.
REST = 0.5
# Data versions whose changes are kept for services that know older answers: hours of commits.
KEPT_CHANGES = 10_000

_BEGIN = """
UPDATE data_version SET merged_version = greatest(
    merged_version, (SELECT max(version) FROM visible_batches WHERE batch_no = ANY (%s))
)
"""
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


# A subquery with LIMIT is one look into the index a batch; NOT EXISTS may become a join with all rows that are left.
_EMPTY = """
DELETE FROM visible_batches WHERE batch_no = ANY (%s)
AND (SELECT true FROM rates WHERE rates.batch_no = visible_batches.batch_no AND batch_no <> 0 LIMIT 1) IS NULL
"""


class TreeMovesError(TransientError):
    """Rates are moved to another tree of regions: they must not move between batches meanwhile."""


def compact(connection: "Connection", run: str, min_batches: int = 1) -> Result:
    """Merge the rates of all open batches if there are at least `min_batches`; return how many batches were merged.

    Then tables of prices are merged while there are too many. Raises TaskError, after everything else was done, for
    what no retry can do.
    """
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, 0)", (COMPACTION_LOCK,))
        if cursor.fetchone() != (True,):
            return Result("compact", run, "done", 0, message="another compaction is at work")
        cursor.execute("SELECT batch_no FROM visible_batches WHERE batch_no <> 0 ORDER BY batch_no")
        batches = [number for (number,) in cursor.fetchall()]
    upkeep = Upkeep()
    merged = _merge_all(connection, batches, upkeep) if len(batches) >= max(min_batches, 1) else 0
    away = upkeep.work_off(merges(connection))
    upkeep.work_off([("list of changes", partial(_prune, connection))])
    metrics.note_uncompacted_batches(connection)
    metrics.note("Backlog", upkeep.backlog)
    words = f"merged the rates of {merged} batches" if merged else f"{len(batches)} open batches; due at {min_batches}"
    words += f"; {away} merges of tables of prices" if away else ""
    return Result("compact", run, "done", merged, message=words + upkeep.finish())


def _merge_all(connection: "Connection", batches: list[int], upkeep: Upkeep) -> int:
    """Merge the rates of these batches; return of how many no row of its own is left."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_BEGIN, (batches,))
    upkeep.work_off(_pieces(connection, batches))
    with connection, connection.cursor() as cursor:
        # Statistics that are older than the merge may say that every row belongs to these batches.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(_EMPTY, (batches,))
        return cursor.rowcount


def _pieces(connection: "Connection", batches: list[int]) -> Iterator[Piece]:
    """Yield the merges of some lanes each; which lanes there are is kept by the database, not here."""
    with connection.cursor("lanes", withhold=True) as lanes:
        lanes.itersize = LANES
        lanes.execute(_LANES, {"batches": batches})
        connection.commit()
        moving: list[TreeMovesError] = []
        while (some := lanes.fetchmany(LANES)) and not moving:
            connection.commit()
            yield f"lanes from {some[0][0]} to {some[0][1]}", partial(_try, connection, batches, some, moving)
        connection.commit()


def _try(
    connection: "Connection", batches: list[int], lanes: list[tuple[Any, ...]], moving: "list[TreeMovesError]"
) -> None:
    """Merge lanes; note when the others need not be tried in this run."""
    try:
        _merge(connection, batches, lanes)
    except TreeMovesError as error:
        moving.append(error)
        raise


def _merge(connection: "Connection", batches: list[int], lanes: list[tuple[Any, ...]]) -> None:
    began = time.monotonic()
    origs, dests = zip(*lanes, strict=True)
    with connection, connection.cursor() as cursor:
        # A change of the tree notes which batches it has dealt with; rows must not move between batches meanwhile.
        cursor.execute("SELECT pg_try_advisory_xact_lock_shared(%s, 0)", (TREE_LOCK,))
        if cursor.fetchone() != (True,):
            raise TreeMovesError("a change of the tree of regions is at work")
        cursor.execute(_MERGE, {"batches": batches, "origs": list(origs), "dests": list(dests)})
    time.sleep((time.monotonic() - began) * REST)


def _prune(connection: "Connection") -> None:
    """Forget what old data versions changed: who knows answers of before takes everything for changed."""
    with connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM changes WHERE version <= (SELECT version FROM data_version) - %s", (KEPT_CHANGES,))


TASK = Task(
    function=compact,
    help="merge the rates of committed batches, and old tables of prices",
    arguments={"min_batches": "merge rates only if at least this many batches are not merged yet"},
    outcomes=("done",),
    # Merges tables of up to 10,000,000 prices in one statement.
    limits=Limits(silence=600, statement=1800),
    upkeep=True,
)
