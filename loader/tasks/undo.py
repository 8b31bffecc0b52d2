"""Undo: remove exactly one committed batch, by making its negative visible.

The negative has the batch's number with a minus sign. Its rates are the batch's own, counted again from its prices and
negated, so that both add up to zero, whether or not compaction has merged the batch's rates. They are written hidden,
which takes as long as a load; then one short transaction closes the ledger's row and makes the negative visible. `gc`
drops the prices later; the same file may be sent again at once.
"""

from typing import TYPE_CHECKING

from ratesflow.database.lanes import mark_lanes
from ratesflow.database.lock_retries import UNDO_LOCK, advisory_lock
from ratesflow.database.reference import stored
from ratesflow.database.region_rates import fit_tree
from ratesflow.database.versions import make_visible
from ratesflow.loader.batches import ledger_outcomes
from ratesflow.loader.batches.ledger import COMMITTED, UNDONE, Entry, find_entry, register_hidden
from ratesflow.loader.batches.results import Result
from ratesflow.loader.dataset import Dataset
from ratesflow.loader.files.streams import IteratorIO
from ratesflow.loader.runtime.errors import ClosedError, TaskError, UsageError
from ratesflow.loader.tasks.registry import Limits, Task

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


def undo(connection: "Connection", run: str, batch_id: str, dataset: Dataset) -> Result:
    """Make a committed batch invisible, all of it at once; a batch that is undone stays undone.

    Raises UsageError when there is no such batch, ClosedError when it was never committed.
    """
    with connection, connection.cursor() as cursor:
        entry = _committed(cursor, batch_id)
    if entry.state == UNDONE:
        return _undone_before(run, entry, batch_id)
    # The second of two undos of one batch waits, then finds the batch undone.
    with advisory_lock(connection, UNDO_LOCK, entry.batch_no % (1 << 31), seconds=600):
        with connection, connection.cursor() as cursor:
            entry = _committed(cursor, batch_id)
            if entry.state == UNDONE:
                return _undone_before(run, entry, batch_id)
        counted_with = _write_negative(connection, entry, dataset)
        with connection, connection.cursor() as cursor:
            entry = _committed(cursor, batch_id, "FOR UPDATE")
            fit_tree(cursor, -entry.batch_no, counted_with)
            cursor.execute(
                "UPDATE batches SET state = 'undone', closed_at = now(), message = %s WHERE batch_no = %s",
                (f"undone by {run}", entry.batch_no),
            )
            make_visible(cursor, -entry.batch_no)
    return Result("undo", run, UNDONE, entry.rows, message=f"batch {batch_id} is undone; its file may be sent again")


def _committed(cursor: "Cursor", batch_id: str, lock: str = "") -> Entry:
    """Return the row of a batch that is committed or undone."""
    entry = find_entry(cursor, batch_id, lock)
    if entry is None:
        raise UsageError(f"there is no batch {batch_id}: `ratesflow batches` lists them")
    if entry.state not in (COMMITTED, UNDONE):
        raise ClosedError(f"batch {batch_id} is {entry.state}, not committed: there is nothing to undo")
    return entry


def _undone_before(run: str, entry: Entry, batch_id: str) -> Result:
    return Result("undo", run, UNDONE, entry.rows, message=f"batch {batch_id} was undone before")


def _write_negative(connection: "Connection", entry: Entry, dataset: Dataset) -> int:
    """Write the negative's rates, hidden; return the version of the tree of regions that they were counted with."""
    with connection, connection.cursor() as cursor:
        reference, reference_version = stored(cursor)
        lines, rows = dataset.negative_rows(cursor, entry.batch_no, reference)
    if rows != entry.rows:
        raise TaskError(f"{rows:,} prices are stored, but {entry.rows or 0:,} were committed: nothing was undone")
    with connection, connection.cursor() as cursor:
        register_hidden(cursor, -entry.batch_no)
        cursor.execute(
            "DELETE FROM rates WHERE batch_no = %s AND batch_no <> 0", (-entry.batch_no,)
        )  # of a killed attempt
        cursor.copy_expert(dataset.copy_derived, IteratorIO(lines))
        mark_lanes(cursor, -entry.batch_no)
    return reference_version


def undo_and_record(connection: "Connection", run: str, bucket: str, batch: str, dataset: Dataset) -> Result:
    """Undo a committed batch, and store its outcome where commands read it."""
    result = undo(connection, run, batch, dataset)
    ledger_outcomes.keep(connection, bucket, batch)
    return result


TASK = Task(
    function=undo_and_record,
    help="remove one committed batch",
    arguments={"batch": "the name of the batch"},
    outcomes=("undone",),
    ends={"undone": "undone"},
    # COPY reads a whole batch.
    limits=Limits(silence=300, statement=1800, session=3500),
    vcpus=1,
    memory_mib=2048,
)
