"""Changes of reference data while batches are loaded, committed and read.

A load adds and updates rows; it never removes any, since prices refer to the ports. When a port or region moves, the
averages of regions change: `ratesflow.database.region_rates` describes how the rates move with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg2 import errors
from psycopg2.extras import execute_values

from ratesflow.database.lock_retries import TREE_LOCK, advisory_lock, attempts, retry_on_lock
from ratesflow.database.reference import Reference, Row, check, stored
from ratesflow.database.region_rates import move_rates, moved_ports
from ratesflow.database.versions import bump_reference_version, make_visible, record_change

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

# Batch numbers from here on stand for changes of the tree; a sequence in the schema assigns them.
FIRST_MOVE = 1 << 62
# Up to this many rows of newly committed batches are moved within the switch; more are moved before it, hidden.
SMALL_ROWS = 100_000
# The number of ports whose lanes one statement moves; each statement writes rows that compaction merges later.
PORTS_AT_ONCE = 500
# How long a change waits for another change, and then for its own switch.
TIMEOUT_SECONDS = 900.0


@dataclass(frozen=True)
class ReferenceChange:
    """The result of a load, as row counts; `rebuilt` are the regions whose set of ports has changed."""

    ports: int
    regions: int
    added: int
    changed: int
    kept: int
    version: int
    rebuilt: tuple[str, ...] = field(default=())


def load(connection: "Connection", new: Reference) -> ReferenceChange:
    """Add and update ports and regions; the rates of regions whose ports change do so in the same commit.

    Loads, commits and reads continue meanwhile. Raises ReferenceDataError, and changes nothing, if the result would
    have an unknown parent or a cycle.
    """
    with advisory_lock(connection, TREE_LOCK, seconds=TIMEOUT_SECONDS):
        with connection, connection.cursor() as cursor:
            drop_hidden_moves(cursor)
            old, version = stored(cursor)
            merged = Reference({**old.ports, **new.ports}, {**old.regions, **new.regions})
            check(merged)
            cursor.execute("SELECT nextval('reference_changes')")
            ((number,),) = cursor.fetchall()
        changed = _changed(old.regions, new.regions) + _changed(old.ports, new.ports)
        added = len(merged.ports) + len(merged.regions) - len(old.ports) - len(old.regions)
        if added or changed:
            version = _change(connection, new, _Move(number, old, merged))
    kept = len(old.regions.keys() - new.regions.keys()) + len(old.ports.keys() - new.ports.keys())
    return ReferenceChange(
        len(new.ports), len(new.regions), added, changed, kept, version, tuple(_regrouped(old, merged))
    )


def _change(connection: "Connection", new: Reference, move: "_Move") -> int:
    """Move the rates while hidden, and switch to the new tree when few are left; return its version."""
    for last in attempts(TIMEOUT_SECONDS):
        move.catch_up(connection)
        try:
            return retry_on_lock(connection, lambda cursor: _switch(cursor, new, move), seconds=0)
        except errors.LockNotAvailable:
            if last:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


@dataclass
class _Move:
    """A running change of the tree; `covered` are the visible batches whose rates it has moved, still hidden."""

    number: int
    old: Reference
    new: Reference
    covered: set[int] = field(default_factory=set)

    def catch_up(self, connection: "Connection") -> None:
        """Move the rates of all visible batches until a switch can move the rest."""
        moved = moved_ports(self.old, self.new)
        while moved:
            with connection, connection.cursor() as cursor:
                left = self._left(cursor)
                if self.covered and _rows_of(cursor, left) <= SMALL_ROWS:
                    return
                cursor.execute("INSERT INTO changes (batch_no) VALUES (%s) ON CONFLICT DO NOTHING", (self.number,))
            # Each batch is moved once: meanwhile compaction does not touch them.
            for at in range(0, len(moved), PORTS_AT_ONCE):
                with connection, connection.cursor() as cursor:
                    some = moved[at : at + PORTS_AT_ONCE]
                    move_rates(cursor, self.number, self.old, self.new, sorted(left), some)
            self.covered |= left

    def finish(self, cursor: "Cursor") -> bool:
        """Move the rest, in the transaction of the switch; return whether there are rates to make visible.

        Raises errors.LockNotAvailable if so much was committed meanwhile that commits would wait too long.
        """
        if not (moved := moved_ports(self.old, self.new)):
            return False
        left = self._left(cursor)
        if _rows_of(cursor, left) > SMALL_ROWS:
            raise errors.LockNotAvailable("too much was committed before the switch of the tree")
        move_rates(cursor, self.number, self.old, self.new, sorted(left), moved)
        return True

    def _left(self, cursor: "Cursor") -> set[int]:
        cursor.execute("SELECT batch_no FROM visible_batches")
        return {number for (number,) in cursor.fetchall()} - self.covered


def _switch(cursor: "Cursor", new: Reference, move: _Move) -> int:
    """Replace the old tree by the new one, together with the moved rates; return its version."""
    # Commits and undos wait from here on: before this point their rates may fit the old tree, after it they must not.
    version = bump_reference_version(cursor)
    moved = move.finish(cursor)
    _store(cursor, "regions", "slug", move.old.regions, new.regions)
    _store(cursor, "ports", "code", move.old.ports, new.ports)
    if moved:
        make_visible(cursor, move.number)
    else:
        record_change(cursor, move.number)
    return version


def drop_hidden_moves(cursor: "Cursor") -> int:
    """Drop the hidden rates of a killed change of the tree; the caller holds TREE_LOCK."""
    cursor.execute("DELETE FROM changes WHERE version IS NULL AND batch_no >= %s RETURNING batch_no", (FIRST_MOVE,))
    left = [number for (number,) in cursor.fetchall()]
    cursor.execute("DELETE FROM rates WHERE batch_no = ANY (%s) AND batch_no <> 0", (left,))
    return len(left)


def _rows_of(cursor: "Cursor", batches: set[int]) -> int:
    cursor.execute(
        "SELECT coalesce(sum(rows), 0)::bigint FROM batches WHERE batch_no = ANY (%s)", ([abs(no) for no in batches],)
    )
    ((rows,),) = cursor.fetchall()
    return int(rows)


def _changed(old: Mapping[str, Row], new: Mapping[str, Row]) -> int:
    return sum(key in old and old[key] != row for key, row in new.items())


def _regrouped(old: Reference, merged: Reference) -> list[str]:
    """Return the regions whose set of ports has changed; new ports have no prices yet and do not count."""
    old_codes = old.ports.keys()
    nothing: frozenset[str] = frozenset()
    return sorted(slug for slug, codes in merged.members.items() if codes & old_codes != old.members.get(slug, nothing))


def _store(cursor: "Cursor", table: str, key: str, old: Mapping[str, Row], new: Mapping[str, Row]) -> None:
    changed = [row for name, row in new.items() if old.get(name) != row]
    execute_values(
        cursor,
        f"INSERT INTO {table} ({key}, name, parent_slug) VALUES %s"  # noqa: S608
        f" ON CONFLICT ({key}) DO UPDATE SET name = excluded.name, parent_slug = excluded.parent_slug",
        [(getattr(row, key), row.name, row.parent_slug) for row in changed],
    )
