"""The ledger's row of a batch: opened once, closed once, and locked by whatever must not overlap its closing."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from loader.batch import Batch
from loader.errors import ClosedError

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

OPEN, COMMITTED, REJECTED = "open", "committed", "rejected"
DUPLICATE, FAILED, UNDONE = "duplicate", "failed", "undone"

_COLUMNS = "batch_no, state, bytes, digest, forced, rows, rejected_rows, report, message, reference_version"


@dataclass(frozen=True)
class Entry:
    """One row of the ledger. Counts are None until validation has counted."""

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


@dataclass(frozen=True)
class Twin:
    """Another batch with the same bytes, or the same rates; `closed_at` is when it was committed."""

    batch_no: int
    batch_id: str
    key: str
    closed_at: datetime

    @property
    def words(self) -> str:
        """Name it for a person who sent the same."""
        return f"batch {self.batch_id} (file {self.key} of {self.closed_at:%Y-%m-%d})"


def open_entry(
    cursor: "Cursor", batch: Batch, *, state: str = OPEN, message: str | None = None, told: bool | None = None
) -> Entry:
    """Return the batch's row, made if it was not there; the row of an earlier attempt is the same row."""
    cursor.execute(
        "INSERT INTO batches (batch_id, bucket, key, version, execution_arn, state, message, told, closed_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, CASE WHEN %s <> 'open' THEN now() END)"
        " ON CONFLICT (batch_id) DO NOTHING",
        (batch.batch_id, batch.bucket, batch.key, batch.version, batch.execution_arn, state, message, told, state),
    )
    entry = find_entry(cursor, batch.batch_id)
    assert entry is not None
    return entry


def find_entry(cursor: "Cursor", batch_id: str, lock: str = "") -> Entry | None:
    """Return a batch's row, or None. `lock` is "FOR SHARE" or "FOR UPDATE", held to the transaction's end."""
    cursor.execute(f"SELECT {_COLUMNS} FROM batches WHERE batch_id = %s {lock}", (batch_id,))  # noqa: S608
    row = cursor.fetchone()
    return Entry(*row) if row else None


def require_open(cursor: "Cursor", batch_id: str, lock: str = "") -> Entry:
    """Lock the batch's row, if `lock` says how, and return it. Raises ClosedError unless it is open.

    Loading takes FOR SHARE and closing takes FOR UPDATE, so that neither happens inside the other.
    """
    entry = find_entry(cursor, batch_id, lock)
    if entry is None:
        raise ClosedError(f"batch {batch_id} is not in the ledger: it was never validated")
    if entry.state != OPEN:
        raise ClosedError(f"batch {batch_id} is {entry.state}, not open: this task came too late and changed nothing")
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
    """Take a row from open to its end. Raises ClosedError if something else closed it."""
    update_entry(cursor, batch_no, state=state, **values)
    cursor.execute("UPDATE batches SET closed_at = now() WHERE batch_no = %s", (batch_no,))


def add_seconds(cursor: "Cursor", batch_no: int, step: str, seconds: float) -> None:
    """Note how many seconds a step took."""
    cursor.execute(
        "UPDATE batches SET seconds = seconds || jsonb_build_object(%s, %s) WHERE batch_no = %s",
        (step, round(seconds, 3), batch_no),
    )


def note_hidden(cursor: "Cursor", batch_no: int) -> None:
    """Note that hidden rates of this number are about to be written, so that gc finds what a crash leaves of them."""
    cursor.execute("INSERT INTO changes (batch_no) VALUES (%s) ON CONFLICT DO NOTHING", (batch_no,))


def hold_digest(cursor: "Cursor", digest: str) -> None:
    """Keep batches of the same bytes from being committed beside this one, until the transaction ends."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (digest,))


def committed_twin(cursor: "Cursor", entry: Entry, *, digest: str | None, forced: bool) -> Twin | None:
    """Return another batch with the same bytes that is committed, None if there is none.

    Forced ones count too. One that is forced itself has a twin only in its own object: run again, it adds nothing.
    """
    cursor.execute(
        "SELECT other.batch_no, other.batch_id, other.key, other.closed_at"
        " FROM batches AS other, batches AS mine"
        " WHERE other.digest = %s AND other.state = 'committed' AND other.batch_no <> %s AND mine.batch_no = %s"
        " AND (NOT %s OR (other.bucket, other.key, other.version) = (mine.bucket, mine.key, mine.version))"
        " ORDER BY other.batch_no LIMIT 1",
        (digest, entry.batch_no, entry.batch_no, forced),
    )
    row = cursor.fetchone()
    return Twin(*row) if row else None
