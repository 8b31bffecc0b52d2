"""Reads rates from the database."""

from collections.abc import Sequence
from datetime import date
from difflib import get_close_matches
from operator import add
from typing import NamedTuple, Protocol

from api import queries
from api.answers import Months
from api.connections import Connections, Row
from api.parameters import RatesQuery
from api.round_trips import RoundTrips


class Version(NamedTuple):
    """The state of the data: `number` grows with each change; a database restored has another `epoch`."""

    epoch: str
    number: int


class Rates(NamedTuple):
    """What one snapshot of the database says: the data version, and counts and sums by month and day."""

    version: Version
    orig_known: bool
    dest_known: bool
    months: Months


class Place(NamedTuple):
    """A port (`key` is its code) or a region (its slug), and the region that contains it."""

    key: str
    name: str
    parent_slug: str | None


class Places(NamedTuple):
    """All ports by code, and all regions by slug, as of one snapshot."""

    version: Version
    ports: tuple[Place, ...]
    regions: tuple[Place, ...]


class RatesReader(Protocol):
    """What the service needs to be told; all of these raise DatabaseAwayError."""

    def rates(self, query: RatesQuery) -> Rates:
        """Return the rates that the query asks for; both its locations must have a kind."""

    def places(self) -> Places:
        """Return all ports and regions."""

    def alike(self, text: str) -> list[str]:
        """Return up to three locations that a person who wrote `text` may have meant."""

    def check(self) -> None:
        """Ask the database for a sign of life, quickly."""


class DatabaseReader:
    """Reads from PostgreSQL, each time within `timeout_seconds`."""

    def __init__(self, connections: Connections, *, timeout_seconds: float, check_seconds: float = 1.0) -> None:
        self._connections = connections
        self._lanes = RoundTrips(connections, queries.RATES_OF_LANES)
        self._timeout_seconds = timeout_seconds
        self._check_seconds = check_seconds

    def rates(self, query: RatesQuery) -> Rates:
        """Return the rates that the query asks for, in one statement."""
        orig, dest = query.orig, query.dest
        if orig.kind is None or dest.kind is None:
            raise ValueError("a location that is neither a port nor a region has no rates")
        # Days as text, since psycopg2 takes some microseconds to write each date.
        parameters = orig.text, dest.text, query.date_from.replace(day=1).isoformat(), query.date_to.isoformat()
        if orig.kind == dest.kind:
            first, last = query.date_from, query.date_to
            months = (last.year - first.year) * 12 + last.month - first.month + 1
            rows = self._lanes.fetch(parameters, seconds=self._timeout_seconds, weight=months)
        else:
            statement = queries.RATES[orig.kind, dest.kind]
            rows = self._connections.fetch(statement, parameters, seconds=self._timeout_seconds)
        _, epoch, version, orig_known, dest_known, *_ = rows[0]
        return Rates(Version(epoch, version), orig_known, dest_known, _add_up(rows))

    def places(self) -> Places:
        """Return all ports and regions, in one statement."""
        ((epoch, version, ports, regions),) = self._connections.fetch(queries.PLACES, seconds=self._timeout_seconds)
        return Places(
            Version(epoch, version), tuple(Place(*row) for row in ports), tuple(Place(*row) for row in regions)
        )

    def version(self) -> Version:
        """Return the data version."""
        ((epoch, version),) = self._connections.fetch(queries.VERSION, seconds=self._check_seconds)
        return Version(epoch, version)

    def rest(self) -> None:
        """Close the connections that are not in use: a database that pauses when nobody is connected may do so."""
        self._connections.close()

    def alike(self, text: str) -> list[str]:
        """Return up to three locations, with their names: those written like it come first."""
        asked = text.replace("\0", "")[:60]
        found = self._connections.fetch(queries.LOCATIONS_ALIKE, (asked,), seconds=self._timeout_seconds)
        names = {location: name for location, name, _ in found}
        if asked.upper() in names:
            return [f"{asked.upper()} ({names[asked.upper()]})"]
        named = [location for location, _, is_named in found if is_named]
        alike = get_close_matches(asked.upper(), names, n=3) + get_close_matches(asked.lower(), names, n=3)
        return [f"{location} ({names[location]})" for location in dict.fromkeys([*alike, *named])][:3]

    def check(self) -> None:
        """Ask the database for a sign of life."""
        self._connections.fetch(queries.PING, seconds=self._check_seconds)


def _add_up(rows: Sequence[Row]) -> Months:
    """Add up, day by day, the rows of several batches; a row without month says that there is none."""
    months: dict[date, tuple[list[int], list[int]]] = {}
    for *_, month, counts, sums in rows:
        if month is None:
            continue
        if month in months:
            so_far = months[month]
            # Rows of a month have as many days as the month, so map loses none.
            months[month] = list(map(add, so_far[0], counts)), list(map(add, so_far[1], sums))
        else:
            months[month] = counts, sums
    return months
