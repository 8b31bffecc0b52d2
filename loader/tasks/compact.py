"""Compact: merge the derived rows of visible batches under number 0, so that reads stay as fast as with few batches.

Each short transaction merges some keys: one statement deletes their rows and inserts the sum, so that a reader sees
either, with the same sum. When a batch has no rows left, its number is deleted from the visible batches. The state is
correct whenever this task is killed, and the next run continues from there. Nothing that a reader sees changes, so the
data version does not move.
"""

import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from psycopg2 import sql

from ratesflow.database.lock_retries import COMPACTION_LOCK
from ratesflow.loader.batches.results import Result
from ratesflow.loader.dataset import Dataset, MergeBlockedError, Rollup
from ratesflow.loader.runtime import metrics
from ratesflow.loader.runtime.session import run_statement
from ratesflow.loader.runtime.upkeep import Piece, Upkeep
from ratesflow.loader.tasks.merge_partitions import merges
from ratesflow.loader.tasks.registry import Limits, Task

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

# Keys that one transaction merges.
KEYS = 200
# The pause after each transaction, as a share of the time that it took: readers share the machine.
REST = 0.5
# Data versions whose changes are kept, for API processes with older responses: hours of commits.
KEPT_CHANGES = 10_000

_BEGIN = """
UPDATE data_version SET merged_version = greatest(
    merged_version, (SELECT max(version) FROM visible_batches WHERE batch_no = ANY (%s))
)
"""
# A subquery with LIMIT is one index lookup for each batch; NOT EXISTS may become a join with all remaining rows.
_FORGET_MERGED = sql.SQL("""
DELETE FROM visible_batches WHERE batch_no = ANY (%s)
AND (SELECT true FROM {table} AS derived
     WHERE derived.batch_no = visible_batches.batch_no AND derived.batch_no <> 0 LIMIT 1) IS NULL
""")


def compact(connection: "Connection", run_id: str, min_batches: int = 1, *, dataset: Dataset) -> Result:
    """Merge the derived rows of all visible batches if there are at least `min_batches`; return how many were merged.

    Then merge partitions while there are too many. Raises TaskError for a piece that no retry can do, after all other
    pieces were tried.
    """
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, 0)", (COMPACTION_LOCK,))
        if cursor.fetchone() != (True,):
            return Result("compact", run_id, "done", 0, message="another compaction is running")
        cursor.execute("SELECT batch_no FROM visible_batches WHERE batch_no <> 0 ORDER BY batch_no")
        batches = [number for (number,) in cursor.fetchall()]
    upkeep = Upkeep()
    merged = _merge_all(connection, dataset.rollup, batches, upkeep) if len(batches) >= max(min_batches, 1) else 0
    partitions = upkeep.work_off(merges(connection))
    upkeep.work_off([("list of changes", partial(_prune, connection))])
    metrics.note_uncompacted_batches(connection)
    # The end of the session would free it as well, but some time after the end of this run.
    run_statement(connection, "SELECT pg_advisory_unlock(%s, 0)", (COMPACTION_LOCK,))
    metrics.note("Backlog", upkeep.backlog)
    message = f"visible batches: {len(batches)}; compaction starts at {min_batches}"
    if merged:
        message = f"merged the {dataset.rollup.table} of {merged} batches"
    if partitions:
        message += f"; {partitions} merges of tables of {dataset.table}"
    return Result("compact", run_id, "done", merged, message=message + upkeep.finish())


def _merge_all(connection: "Connection", rollup: Rollup, batches: list[int], upkeep: Upkeep) -> int:
    """Merge the derived rows of these batches; return how many batches have no rows left."""
    run_statement(connection, _BEGIN, (batches,))
    upkeep.work_off(_pieces(connection, rollup, batches))
    with connection, connection.cursor() as cursor:
        # By statistics from before the merge, every row may belong to these batches.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(_FORGET_MERGED.format(table=sql.Identifier(rollup.table)), (batches,))
        return cursor.rowcount


def _pieces(connection: "Connection", rollup: Rollup, batches: list[int]) -> Iterator[Piece]:
    """Yield the merges of some keys each. The database keeps the list of all keys."""
    with connection.cursor("keys", withhold=True) as keys:
        keys.itersize = KEYS
        keys.execute(rollup.keys, {"batches": batches})
        connection.commit()
        blocked: list[MergeBlockedError] = []
        while (some := keys.fetchmany(KEYS)) and not blocked:
            connection.commit()
            name = f"{rollup.table} from key {', '.join(map(str, some[0]))}"
            yield name, partial(_try, connection, rollup, batches, some, blocked)
        connection.commit()


def _try(
    connection: "Connection",
    rollup: Rollup,
    batches: list[int],
    keys: list[tuple[Any, ...]],
    blocked: list[MergeBlockedError],
) -> None:
    """Merge some keys; note in `blocked` that this run need not try the others."""
    try:
        _merge(connection, rollup, batches, keys)
    except MergeBlockedError as error:
        blocked.append(error)
        raise


def _merge(connection: "Connection", rollup: Rollup, batches: list[int], keys: list[tuple[Any, ...]]) -> None:
    began = time.monotonic()
    with connection, connection.cursor() as cursor:
        rollup.merge(cursor, batches, keys)
    time.sleep((time.monotonic() - began) * REST)


def _prune(connection: "Connection") -> None:
    """Delete the changes of old data versions. An API process with older responses treats all as changed."""
    statement = "DELETE FROM changes WHERE version <= (SELECT version FROM data_version) - %s"
    run_statement(connection, statement, (KEPT_CHANGES,))


TASK = Task(
    function=compact,
    help="merge the rates of committed batches, and old tables of prices",
    arguments={"min_batches": "merge rates only if at least this many batches are not merged yet"},
    outcomes=("done",),
    # One statement merges tables of up to 10,000,000 prices.
    limits=Limits(silence=600, statement=1800),
    upkeep=True,
)
