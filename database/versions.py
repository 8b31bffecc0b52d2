"""The two counters by which readers and loaders detect changes.

Each is a single row: its lock makes the numbers follow the order of commits, which a sequence would not.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_BUMP = """
WITH bumped AS (
    UPDATE data_version SET version = version + 1, changed_at = now() RETURNING version
), visible AS (
    INSERT INTO visible_batches (batch_no, version)
    SELECT batch_no, version FROM bumped CROSS JOIN unnest(%(visible)s::bigint[]) AS batch_no
)
INSERT INTO changes (batch_no, version)
SELECT batch_no, version FROM bumped CROSS JOIN unnest(%(changes)s::bigint[]) AS batch_no
ON CONFLICT (batch_no) DO UPDATE SET version = excluded.version
RETURNING version
"""


def make_visible(cursor: "Cursor", *batches: int) -> int:
    """Make the rates of batches visible when this transaction commits; return the new data version.

    Call it last: others wait for its lock. The lanes that it touches are read from `changes`; a batch without an entry
    there touches all lanes.
    """
    return _bump(cursor, batches, batches)


def record_change(cursor: "Cursor", number: int) -> int:
    """Record that responses change with this transaction although no batch becomes visible.

    The change is stored under `number`, which no batch has. Call it last: others wait for its lock.
    """
    return _bump(cursor, (), (number,))


def _bump(cursor: "Cursor", visible: tuple[int, ...], changes: tuple[int, ...]) -> int:
    cursor.execute(_BUMP, {"visible": list(visible), "changes": list(changes)})
    return _number(cursor)


def bump_reference_version(cursor: "Cursor") -> int:
    """Record that ports or regions change in this transaction; commits of batches wait until it ends."""
    cursor.execute("UPDATE reference_version SET version = version + 1, changed_at = now() RETURNING version")
    return _number(cursor)


def lock_reference_version(cursor: "Cursor") -> int:
    """Return the version of ports and regions, and lock it until the transaction ends."""
    cursor.execute("SELECT version FROM reference_version FOR SHARE")
    return _number(cursor)


def _number(cursor: "Cursor") -> int:
    row = cursor.fetchone()
    assert row is not None
    return int(row[0])
