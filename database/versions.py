"""The two counters that tell readers and loaders that something changed.

Each is one row, so that its lock makes the numbers follow the order of commits, which sequences do not.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_MOVE = """
WITH moved AS (
    UPDATE data_version SET version = version + 1, changed_at = now() RETURNING version
), opened AS (
    INSERT INTO visible_batches (batch_no, version)
    SELECT batch_no, version FROM moved CROSS JOIN unnest(%(opened)s::bigint[]) AS batch_no
)
INSERT INTO changes (batch_no, version)
SELECT batch_no, version FROM moved CROSS JOIN unnest(%(changes)s::bigint[]) AS batch_no
ON CONFLICT (batch_no) DO UPDATE SET version = excluded.version
RETURNING version
"""


def make_visible(cursor: "Cursor", *batches: int) -> int:
    """Let the rates of batches count from the end of this transaction on; return the new data version.

    Call it last: others wait for its lock. Which lanes it touches stands in `changes` already, or is taken to be all.
    """
    return _move(cursor, batches, batches)


def note_change(cursor: "Cursor", number: int) -> int:
    """Say that answers differ after this transaction although no batch became visible; `number` stands for it.

    `number` is one that no batch has. Call it last: others wait for its lock.
    """
    return _move(cursor, (), (number,))


def _move(cursor: "Cursor", opened: tuple[int, ...], changes: tuple[int, ...]) -> int:
    cursor.execute(_MOVE, {"opened": list(opened), "changes": list(changes)})
    return _number(cursor)


def bump_reference_version(cursor: "Cursor") -> int:
    """Say that ports or regions change in this transaction, and keep commits waiting until its end."""
    cursor.execute("UPDATE reference_version SET version = version + 1, changed_at = now() RETURNING version")
    return _number(cursor)


def lock_reference_version(cursor: "Cursor") -> int:
    """Return the version of ports and regions, and keep it from moving until the transaction ends."""
    cursor.execute("SELECT version FROM reference_version FOR SHARE")
    return _number(cursor)


def _number(cursor: "Cursor") -> int:
    row = cursor.fetchone()
    assert row is not None
    return int(row[0])
