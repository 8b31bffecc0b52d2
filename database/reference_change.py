"""Changes of reference data, while batches are loaded, committed and read.

Loading adds and updates; nothing is ever removed, since prices name the ports. A port or region that moves changes
which prices a region's averages hold: `ratesflow.database.region_rates` says how they are moved with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg2 import errors
from psycopg2.extras import execute_values

from ratesflow.database.lock_retries import TREE_LOCK, holding, patiently, tries
from ratesflow.database.reference import Reference, Row, check, stored
from ratesflow.database.region_rates import move_rates, moved_ports
from ratesflow.database.versions import bump_reference_version, make_visible, note_change

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

# Numbers from here on stand for changes of the tree, as the sequence in the schema gives them.
FIRST_MOVE = 1 << 62
# So many rows of batches that were committed meanwhile are moved within the switch; more, before it, hidden.
SMALL_ROWS = 100_000
# Ports whose lanes are moved in one statement; each makes rows of its own, which compaction adds up later.
PORTS_AT_ONCE = 500
# Seconds that a change waits for another one, and then for its own switch.
PATIENCE_SECONDS = 900.0


@dataclass(frozen=True)
class ReferenceChange:
    """What a load did. Counts of rows; `rebuilt` are the regions that hold other ports than before."""

    ports: int
    regions: int
    added: int
    changed: int
    kept: int
    version: int
    rebuilt: tuple[str, ...] = field(default=())


def load(connection: "Connection", new: Reference) -> ReferenceChange:
    """Add and update ports and regions; the rates of regions that hold other ports now change in the same commit.

    Loads, commits and reads go on meanwhile. Raises ReferenceDataError, with nothing changed, when the result would
    hold an orphan or a circle.
    """
    with holding(connection, TREE_LOCK, seconds=PATIENCE_SECONDS):
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
    """Move the rates, hidden, and switch to the new tree when there is little left to move; return its version."""
    for last in tries(PATIENCE_SECONDS):
        move.catch_up(connection)
        try:
            return patiently(connection, lambda cursor: _switch(cursor, new, move), seconds=0)
        except errors.LockNotAvailable:
            if last:
                raise
    raise AssertionError("there is a last try")


@dataclass
class _Move:
    """A change of the tree under way; `covered` are the visible batches whose rates it has moved, hidden."""

    number: int
    old: Reference
    new: Reference
    covered: set[int] = field(default_factory=set)

    def catch_up(self, connection: "Connection") -> None:
        """Move the rates of all visible batches, until no more are left than a switch can take with it."""
        moved = moved_ports(self.old, self.new)
        while moved:
            with connection, connection.cursor() as cursor:
                left = self._left(cursor)
                if self.covered and _rows_of(cursor, left) <= SMALL_ROWS:
                    return
                cursor.execute("INSERT INTO changes (batch_no) VALUES (%s) ON CONFLICT DO NOTHING", (self.number,))
            # Each batch is dealt with once: compaction keeps away from all of them meanwhile.
            for at in range(0, len(moved), PORTS_AT_ONCE):
                with connection, connection.cursor() as cursor:
                    some = moved[at : at + PORTS_AT_ONCE]
                    move_rates(cursor, self.number, self.old, self.new, sorted(left), some)
            self.covered |= left

    def finish(self, cursor: "Cursor") -> bool:
        """Move what is left, in the transaction of the switch; tell whether there is anything to make visible.

        Raises errors.LockNotAvailable when so much was committed meanwhile that commits would wait too long for it.
        """
        if not (moved := moved_ports(self.old, self.new)):
            return False
        left = self._left(cursor)
        if _rows_of(cursor, left) > SMALL_ROWS:
            raise errors.LockNotAvailable("too much was committed while the tree was about to be switched")
        move_rates(cursor, self.number, self.old, self.new, sorted(left), moved)
        return True

    def _left(self, cursor: "Cursor") -> set[int]:
        cursor.execute("SELECT batch_no FROM visible_batches")
        return {number for (number,) in cursor.fetchall()} - self.covered


def _switch(cursor: "Cursor", new: Reference, move: _Move) -> int:
    """Put the new tree in the place of the old one, with the rates that were moved; return its version."""
    # Commits and undos wait from here on: until then their rates may fit the old tree, after it they must not.
    version = bump_reference_version(cursor)
    moved = move.finish(cursor)
    _store(cursor, "regions", "slug", move.old.regions, new.regions)
    _store(cursor, "ports", "code", move.old.ports, new.ports)
    if moved:
        make_visible(cursor, move.number)
    else:
        note_change(cursor, move.number)
    return version


def drop_hidden_moves(cursor: "Cursor") -> int:
    """Drop what a change of the tree that was killed has left hidden; the caller holds TREE_LOCK."""
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
    """Return the regions that now hold other ports; ports that are new have no prices yet."""
    known = old.ports.keys()
    nothing: frozenset[str] = frozenset()
    return sorted(slug for slug, codes in merged.members.items() if codes & known != old.members.get(slug, nothing))


def _store(cursor: "Cursor", table: str, key: str, old: Mapping[str, Row], new: Mapping[str, Row]) -> None:
    changed = [row for name, row in new.items() if old.get(name) != row]
    execute_values(
        cursor,
        f"INSERT INTO {table} ({key}, name, parent_slug) VALUES %s"  # noqa: S608
        f" ON CONFLICT ({key}) DO UPDATE SET name = excluded.name, parent_slug = excluded.parent_slug",
        [(getattr(row, key), row.name, row.parent_slug) for row in changed],
    )
