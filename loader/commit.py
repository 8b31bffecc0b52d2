"""Commit: the one short transaction, on small tables alone, after which the batch exists."""

import time
from typing import TYPE_CHECKING

from psycopg2 import errors

from database.versions import make_visible
from loader import metrics
from loader.batch import Batch
from loader.discard import drop_rows
from loader.errors import TaskError
from loader.ledger import (
    COMMITTED,
    DUPLICATE,
    OPEN,
    Entry,
    add_seconds,
    close_entry,
    committed_twin,
    duplicate_in_words,
    find_entry,
    note_same_prices,
    require_open,
)
from loader.results import Result
from loader.shards import done

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


def commit(connection: "Connection", batch: Batch) -> Result:
    """Make all rows of a loaded batch visible at once; answer committed again if it was committed before.

    When another batch with the same bytes was faster, this one ends as a duplicate and leaves nothing.
    Raises ClosedError when the batch was closed otherwise, TaskError when rows are missing.
    """
    began = time.monotonic()
    try:
        with connection, connection.cursor() as cursor:
            entry = find_entry(cursor, batch.batch_id, "FOR UPDATE")
            if entry and entry.state in (COMMITTED, DUPLICATE):
                return _answer(batch, entry)
            entry = require_open(cursor, batch.batch_id, "FOR UPDATE")
            _check_counts(cursor, entry)
            add_seconds(cursor, entry.batch_no, "commit", time.monotonic() - began)
            close_entry(cursor, entry.batch_no, COMMITTED)
            make_visible(cursor, entry.batch_no)
            # Last, when commits wait for one another: of two with the same prices the second one sees the first.
            message = note_same_prices(cursor, entry.batch_no)
    except errors.UniqueViolation:
        return _lost(connection, batch)
    metrics.note("CommitMilliseconds", round((time.monotonic() - began) * 1000, 3))
    metrics.note_open_batches(connection)
    return Result("commit", batch.batch_id, COMMITTED, entry.rows, entry.rejected_rows, entry.report, message)


def _check_counts(cursor: "Cursor", entry: Entry) -> None:
    """Raise TaskError unless every row that was validated is in a table that is attached."""
    validated = [shard["rows"] for shard in done(cursor, entry.batch_no, "validate")]
    staged = [shard["rows"] for shard in done(cursor, entry.batch_no, "load")]
    if not entry.rows or staged != validated or sum(staged) != entry.rows:
        raise TaskError(
            f"{sum(staged):,} rows are staged, by shard {staged}, but {entry.rows or 0:,} were validated, "
            f"by shard {validated}: nothing was committed"
        )
    cursor.execute(
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'prices'::regclass AND inhrelid = to_regclass(%s)",
        (f"staging_{entry.batch_no}",),
    )
    if cursor.fetchone() != (1,):
        raise TaskError(f"the table staging_{entry.batch_no} is not part of prices: nothing was committed")


def _lost(connection: "Connection", batch: Batch) -> Result:
    """Close the batch as a duplicate of the one that committed the same bytes in the meantime."""
    with connection, connection.cursor() as cursor:
        entry = require_open(cursor, batch.batch_id, "FOR UPDATE")
        assert entry.digest is not None
        twin = committed_twin(cursor, entry, entry.digest)
        if twin is None:
            raise TaskError("another batch with the same bytes was committed, and then undone: send the file again")
        message = duplicate_in_words(twin)
        close_entry(cursor, entry.batch_no, DUPLICATE, duplicate_of=twin.batch_no, message=message)
    drop_rows(connection, entry.batch_no)
    with connection, connection.cursor() as cursor:
        entry = find_entry(cursor, batch.batch_id) or entry
    return _answer(batch, entry)


def _answer(batch: Batch, entry: Entry) -> Result:
    assert entry.state != OPEN
    message = entry.message or ""
    return Result("commit", batch.batch_id, entry.state, entry.rows, entry.rejected_rows, entry.report, message)
