"""A batch's row in the ledger: inserted once, closed once, and locked by work that must not overlap its closing."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.runtime.errors import ClosedError
from ratesflow.loader.runtime.texts import printable

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

OPEN, COMMITTED, REJECTED = "open", "committed", "rejected"
DUPLICATE, FAILED, UNDONE = "duplicate", "failed", "undone"
STEPS = ("validate", "load", "commit")
"""The steps of a batch, in order: the keys of `seconds` in its row and in its notification."""

# The columns of a CommittedBatch.
_OTHER = "other.batch_no, other.batch_id, other.key, to_char(other.closed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')"
_COLUMNS = "batch_no, state, bytes, digest, forced, rows, rejected_rows, report, message, reference_version"


@dataclass(frozen=True)
class CommittedBatch:
    """Another batch, which is committed; `committed_at` is in UTC, to the minute."""

    batch_no: int
    batch_id: str
    key: str
    committed_at: str

    def __str__(self) -> str:
        """Return its name for a message."""
        return f"batch {self.batch_id} (file {printable(self.key)}, committed on {self.committed_at} UTC)"


@dataclass(frozen=True)
class Entry:
    """One row of the ledger. Counts are None until the batch is validated."""

    batch_no: int
    state: str
    bytes: int | None
    digest: str | None
    forced: bool
    rows: int | None
    rejected_rows: int | None
    report: str | None
    message: str | None
    reference_version: int | None


def open_entry(
    cursor: "Cursor", batch: Batch, *, state: str = OPEN, message: str | None = None, notified: bool | None = None
) -> Entry:
    """Return the batch's row, inserted if it is missing. All attempts share one row."""
    cursor.execute(
        "INSERT INTO batches (batch_id, bucket, key, version, execution_arn, state, message, notified, closed_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, CASE WHEN %s <> 'open' THEN now() END)"
        " ON CONFLICT (batch_id) DO NOTHING",
        (batch.batch_id, batch.bucket, batch.key, batch.version, batch.execution_arn, state, message, notified, state),
    )
    entry = find_entry(cursor, batch.batch_id)
    assert entry is not None
    return entry


def find_entry(cursor: "Cursor", batch_id: str, lock: str = "") -> Entry | None:
    """Return a batch's row, or None. `lock` is "FOR SHARE" or "FOR UPDATE", held until the transaction ends."""
    cursor.execute(f"SELECT {_COLUMNS} FROM batches WHERE batch_id = %s {lock}", (batch_id,))  # noqa: S608
    row = cursor.fetchone()
    return Entry(*row) if row else None


def require_open(cursor: "Cursor", batch_id: str, lock: str = "") -> Entry:
    """Return the batch's row, locked as in `find_entry`. Raises ClosedError unless it is open.

    Loading takes FOR SHARE and closing takes FOR UPDATE, so that a batch is never closed during a load transaction.
    """
    entry = find_entry(cursor, batch_id, lock)
    if entry is None:
        raise ClosedError(f"batch {batch_id} is not in the ledger: it was never validated")
    if entry.state != OPEN:
        raise ClosedError(f"batch {batch_id} is {entry.state}, not open: this task is too late and changed nothing")
    return entry


def update_entry(cursor: "Cursor", batch_no: int, **values: Any) -> None:
    """Set columns of a row that is still open. Raises ClosedError if it is not."""
    assignments = ", ".join(f"{column} = %({column})s" for column in values)
    cursor.execute(
        f"UPDATE batches SET {assignments} WHERE batch_no = %(batch_no)s AND state = 'open'",  # noqa: S608
        {**values, "batch_no": batch_no},
    )
    if cursor.rowcount != 1:
        raise ClosedError(f"batch number {batch_no} is no longer open")


def close_entry(cursor: "Cursor", batch_no: int, state: str, **values: Any) -> None:
    """Close an open row. Raises ClosedError if it is no longer open."""
    update_entry(cursor, batch_no, state=state, **values)
    cursor.execute("UPDATE batches SET closed_at = now() WHERE batch_no = %s", (batch_no,))


def add_seconds(cursor: "Cursor", batch_no: int, step: str, seconds: float) -> None:
    """Store the seconds that a step took."""
    cursor.execute(
        "UPDATE batches SET seconds = seconds || jsonb_build_object(%s, %s) WHERE batch_no = %s",
        (step, round(seconds, 3), batch_no),
    )


def register_hidden(cursor: "Cursor", batch_no: int) -> None:
    """Record that hidden rates with this batch number will be written, so that gc finds them after a crash."""
    cursor.execute("INSERT INTO changes (batch_no) VALUES (%s) ON CONFLICT DO NOTHING", (batch_no,))


def lock_digest(cursor: "Cursor", digest: str) -> None:
    """Prevent other batches with the same bytes from committing, until the transaction ends."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (digest,))


def find_original(cursor: "Cursor", entry: Entry, *, digest: str | None, forced: bool) -> CommittedBatch | None:
    """Return the committed batch that this batch is a duplicate of, None if it is not a duplicate.

    A forced batch is a duplicate only of a batch of the same object. A forced batch may be the original.
    """
    cursor.execute(
        f"SELECT {_OTHER} FROM batches AS other, batches AS own"  # noqa: S608
        " WHERE other.digest = %s AND other.state = 'committed' AND other.batch_no <> %s AND own.batch_no = %s"
        " AND (NOT %s OR (other.bucket, other.key, other.version) = (own.bucket, own.key, own.version))"
        " ORDER BY other.batch_no LIMIT 1",
        (digest, entry.batch_no, entry.batch_no, forced),
    )
    row = cursor.fetchone()
    return CommittedBatch(*row) if row else None


def duplicate_message(original: CommittedBatch) -> str:
    """Return the message of a duplicate."""
    return f"the same bytes were committed already, by {original}"


def set_same_prices(cursor: "Cursor", batch_no: int) -> str:
    """Set `same_prices_as` of a batch to another committed batch with the same rates but different bytes.

    Return the message about it, which is also stored in the row, or "" if there is no such batch. Call this when the
    batch is accepted, and again at the end of the transaction that commits it, since the other batch may have been
    committed or undone meanwhile.
    """
    cursor.execute(
        f"SELECT own.same_prices_as, {_OTHER} FROM batches AS own LEFT JOIN batches AS other"  # noqa: S608
        " ON other.rates_digest = own.rates_digest AND other.digest <> own.digest AND other.state = 'committed'"
        " AND other.batch_no <> own.batch_no"
        " WHERE own.batch_no = %s ORDER BY other.batch_no LIMIT 1",
        (batch_no,),
    )
    row = cursor.fetchone()
    assert row is not None
    stored, *found = row
    other = CommittedBatch(*found) if found[0] is not None else None
    message = ""
    if other:
        message = f"the same prices as {other}, in different bytes: both count; remove one with `ratesflow undo`"
    if other or stored:
        cursor.execute(
            "UPDATE batches SET same_prices_as = %s, message = %s WHERE batch_no = %s",
            (other and other.batch_no, message or None, batch_no),
        )
    return message
