"""The two counters that tell readers and loaders that something changed.

Each is one row, so that its lock makes the numbers follow the order of commits, which sequences do not.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


def move_data_version(cursor: "Cursor") -> int:
    """Say that other rates are visible after this transaction. Call it last: others wait for its lock."""
    cursor.execute("UPDATE data_version SET version = version + 1, changed_at = now() RETURNING version")
    return _number(cursor)


def move_reference_version(cursor: "Cursor") -> int:
    """Say that ports or regions change in this transaction. Call it first: it keeps loads waiting."""
    cursor.execute("UPDATE reference_version SET version = version + 1, changed_at = now() RETURNING version")
    return _number(cursor)


def hold_reference_version(cursor: "Cursor") -> int:
    """Return the version of ports and regions, and keep it from moving until the transaction ends."""
    cursor.execute("SELECT version FROM reference_version FOR SHARE")
    return _number(cursor)


def _number(cursor: "Cursor") -> int:
    row = cursor.fetchone()
    assert row is not None
    return int(row[0])
