"""Commit: one short transaction on small tables, which makes the whole batch visible."""

import time
from typing import TYPE_CHECKING

from ratesflow.database.lock_retries import retry_on_lock
from ratesflow.database.versions import make_visible
from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.batches.hidden_rows import drop_rows
from ratesflow.loader.batches.ledger import (
    COMMITTED,
    DUPLICATE,
    OPEN,
    Entry,
    add_seconds,
    close_entry,
    duplicate_message,
    find_entry,
    find_original,
    lock_digest,
    require_open,
    set_same_prices,
)
from ratesflow.loader.batches.results import Result, closed_result
from ratesflow.loader.batches.shards import done
from ratesflow.loader.dataset import Dataset
from ratesflow.loader.runtime import metrics
from ratesflow.loader.runtime.errors import TaskError
from ratesflow.loader.tasks.registry import Limits, Task

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


# How long each attempt waits for a lock, and all attempts together: another commit of the same bytes, or a change of
# the tree, may hold it.
LOCK_SECONDS, TIMEOUT_SECONDS = 5.0, 600.0


def commit(connection: "Connection", batch: Batch, dataset: Dataset) -> Result:
    """Make all rows of a loaded batch visible at once. Return committed again if it was already committed.

    If another batch with the same bytes was committed first, this one becomes a duplicate and its rows are dropped.
    Raises ClosedError when the batch was closed otherwise, TaskError when rows are missing.
    """
    began = time.monotonic()
    entry, outcome = retry_on_lock(
        connection,
        lambda cursor: _commit(cursor, batch, dataset, began),
        lock_seconds=LOCK_SECONDS,
        seconds=TIMEOUT_SECONDS,
    )
    if entry.state == OPEN and outcome == COMMITTED:
        metrics.note("CommitMilliseconds", round((time.monotonic() - began) * 1000, 3))
        metrics.note_uncompacted_batches(connection)
    with connection, connection.cursor() as cursor:
        entry = find_entry(cursor, batch.batch_id) or entry
    if entry.state == DUPLICATE:
        drop_rows(connection, dataset, entry.batch_no)
    assert entry.state != OPEN
    return closed_result("commit", batch.batch_id, entry)


def _commit(cursor: "Cursor", batch: Batch, dataset: Dataset, began: float) -> tuple[Entry, str]:
    """Return the ledger row from before, and the new state of the batch."""
    entry = find_entry(cursor, batch.batch_id, "FOR UPDATE")
    if entry and entry.state in (COMMITTED, DUPLICATE):
        return entry, entry.state
    entry = require_open(cursor, batch.batch_id, "FOR UPDATE")
    _check_counts(cursor, dataset, entry)
    outcome = _close(cursor, dataset, entry, began)
    if outcome == COMMITTED:
        make_visible(cursor, entry.batch_no)
        # Last, when this transaction blocks other commits: of two batches with equal prices the second sees the first.
        set_same_prices(cursor, entry.batch_no)
    return entry, outcome


def _close(cursor: "Cursor", dataset: Dataset, entry: Entry, began: float) -> str:
    """Close the batch as committed, or as a duplicate if another batch has committed the same bytes meanwhile."""
    assert entry.digest is not None
    lock_digest(cursor, entry.digest)
    original = find_original(cursor, entry, digest=entry.digest, forced=entry.forced)
    if original:
        message = duplicate_message(original)
        close_entry(cursor, entry.batch_no, DUPLICATE, duplicate_of=original.batch_no, message=message)
        return DUPLICATE
    dataset.rollup.match_reference(cursor, entry.batch_no, entry.reference_version)
    add_seconds(cursor, entry.batch_no, "commit", time.monotonic() - began)
    close_entry(cursor, entry.batch_no, COMMITTED)
    return COMMITTED


def _check_counts(cursor: "Cursor", dataset: Dataset, entry: Entry) -> None:
    """Raise TaskError unless every validated row is in a table that is attached."""
    validated = [shard["rows"] for shard in done(cursor, entry.batch_no, "validate")]
    staged = [shard["rows"] for shard in done(cursor, entry.batch_no, "load")]
    if not entry.rows or staged != validated or sum(staged) != entry.rows:
        raise TaskError(
            f"{sum(staged):,} rows are staged, by shard {staged}, but {entry.rows or 0:,} were validated, "
            f"by shard {validated}: nothing was committed"
        )
    cursor.execute(
        "SELECT count(*) FROM pg_inherits WHERE inhparent = %s::regclass AND inhrelid = to_regclass(%s)",
        (dataset.table, f"staging_{entry.batch_no}"),
    )
    if cursor.fetchone() != (1,):
        raise TaskError(f"the table staging_{entry.batch_no} is not part of {dataset.table}: nothing was committed")


TASK = Task(
    function=commit,
    help="make all rows of a loaded batch visible, in one transaction",
    outcomes=("committed", "duplicate", "undone"),
    ends={"committed": "committed", "duplicate": "duplicate"},
    counts=("rows",),
    # Recomputes the region rates of a batch if the tree has changed since the load.
    limits=Limits(silence=240, statement=1200),
    run_seconds=1800,
)
