"""Undo: remove exactly one committed batch, by making its negative visible.

The negative has the number of the batch with a minus sign. Its rows are the derived rows of the batch, derived again
from the stored rows and negated, so that both add up to zero whether or not compaction has merged those of the batch.
They are written hidden, which takes as long as a load. One short transaction then closes the row of the ledger and
makes the negative visible. `gc` drops the stored rows later; the same file may be sent again at once.
"""

from typing import TYPE_CHECKING

from ratesflow.database.lock_retries import UNDO_LOCK, advisory_lock
from ratesflow.database.versions import make_visible
from ratesflow.loader.batches import ledger_outcomes
from ratesflow.loader.batches.hidden_rows import delete_derived
from ratesflow.loader.batches.ledger import COMMITTED, UNDONE, Entry, find_entry, register_hidden
from ratesflow.loader.batches.results import Result
from ratesflow.loader.dataset import Dataset
from ratesflow.loader.files.streams import IteratorIO
from ratesflow.loader.runtime.errors import ClosedError, TaskError, UsageError
from ratesflow.loader.tasks.registry import Limits, Task

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


def undo(connection: "Connection", run_id: str, batch_id: str, dataset: Dataset) -> Result:
    """Remove a committed batch in one transaction; a batch that is already undone stays as it is.

    Raises UsageError when there is no such batch, ClosedError when it was never committed.
    """
    with connection, connection.cursor() as cursor:
        entry = _committed(cursor, batch_id)
    if entry.state == UNDONE:
        return _already_undone(run_id, entry, batch_id)
    # The second of two concurrent undos of a batch waits, and then finds the batch undone.
    with advisory_lock(connection, UNDO_LOCK, entry.batch_no % (1 << 31), seconds=600):
        with connection, connection.cursor() as cursor:
            entry = _committed(cursor, batch_id)
            if entry.state == UNDONE:
                return _already_undone(run_id, entry, batch_id)
        reference_version = _write_negative(connection, entry, dataset)
        with connection, connection.cursor() as cursor:
            entry = _committed(cursor, batch_id, "FOR UPDATE")
            dataset.rollup.match_reference(cursor, -entry.batch_no, reference_version)
            cursor.execute(
                "UPDATE batches SET state = 'undone', closed_at = now(), message = %s WHERE batch_no = %s",
                (f"undone by {run_id}", entry.batch_no),
            )
            make_visible(cursor, -entry.batch_no)
    return Result("undo", run_id, UNDONE, entry.rows, message=f"batch {batch_id} is undone; its file may be sent again")


def _committed(cursor: "Cursor", batch_id: str, lock: str = "") -> Entry:
    """Return the row of a batch that is committed or undone."""
    entry = find_entry(cursor, batch_id, lock)
    if entry is None:
        raise UsageError(f"there is no batch {batch_id}: list the batches with `ratesflow batches`")
    if entry.state not in (COMMITTED, UNDONE):
        raise ClosedError(f"batch {batch_id} is {entry.state}, not committed: there is nothing to undo")
    return entry


def _already_undone(run_id: str, entry: Entry, batch_id: str) -> Result:
    return Result("undo", run_id, UNDONE, entry.rows, message=f"batch {batch_id} was already undone")


def _write_negative(connection: "Connection", entry: Entry, dataset: Dataset) -> int:
    """Write the rows of the negative, hidden; return the version of the reference data that they were derived with."""
    with connection, connection.cursor() as cursor:
        reference, reference_version = dataset.reference(cursor)
        lines, rows = dataset.rollup.negative_rows(cursor, entry.batch_no, reference)
    if rows != entry.rows:
        raise TaskError(f"{rows:,} rows are stored, but {entry.rows or 0:,} were committed: nothing was undone")
    with connection, connection.cursor() as cursor:
        register_hidden(cursor, -entry.batch_no)
        delete_derived(cursor, dataset, -entry.batch_no)  # of an attempt that was killed
        cursor.copy_expert(dataset.rollup.copy, IteratorIO(lines))
        dataset.rollup.record_changes(cursor, -entry.batch_no)
    return reference_version


def undo_and_record(connection: "Connection", run_id: str, bucket: str, batch: str, dataset: Dataset) -> Result:
    """Undo a committed batch, and store its outcome for the commands."""
    result = undo(connection, run_id, batch, dataset)
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
