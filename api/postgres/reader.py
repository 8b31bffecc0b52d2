"""Reads rates from the database."""

import time
from collections.abc import Callable, Sequence
from datetime import date
from difflib import get_close_matches
from operator import add

from ratesflow.api.models.rates import Months, NamedLocation, Rates, RatesQuery, ReferenceData
from ratesflow.api.models.versions import LatestVersion, PollResult, Version
from ratesflow.api.postgres import queries
from ratesflow.api.postgres.pool import ConnectionPool, Row
from ratesflow.api.postgres.query_batcher import QueryBatcher, View


class DatabaseReader:
    """Reads from PostgreSQL, as of the version of `latest` while it `is_fresh`, otherwise as of the server's.

    A server that is behind `latest` is not read from.
    """

    def __init__(
        self,
        connections: ConnectionPool,
        latest: LatestVersion,
        *,
        is_fresh: Callable[[], bool] = lambda: False,
        check_seconds: float = 1.0,
    ) -> None:
        self._connections = connections
        self._latest = latest
        self._is_fresh = is_fresh
        self._lanes = QueryBatcher(connections, queries.RATES_OF_LANES, self._view)
        self._check_seconds = check_seconds

    def rates(self, query: RatesQuery, deadline: float) -> Rates:
        """Return the requested rates, in one statement."""
        orig, dest = query.orig, query.dest
        if orig.kind is None or dest.kind is None:
            raise ValueError("a location that is neither a port nor a region has no rates")
        # Days as text, since psycopg2 takes some microseconds to format each date.
        parameters = orig.text, dest.text, query.date_from.replace(day=1).isoformat(), query.date_to.isoformat()
        if orig.kind == dest.kind:
            first, last = query.date_from, query.date_to
            months = (last.year - first.year) * 12 + last.month - first.month + 1
            rows = self._lanes.fetch(parameters, seconds=deadline - time.monotonic(), weight=months)
        else:
            rows = self._fetch(queries.RATES[orig.kind, dest.kind], parameters, deadline)
        _, epoch, version, seen, orig_known, dest_known, *_ = rows[0]
        latest = Version(epoch, version)
        at = latest if seen == version else Version(epoch, seen)
        return Rates(at, latest, orig_known, dest_known, _add_up(rows))

    def reference_data(self, deadline: float) -> ReferenceData:
        """Return all ports and regions, in one statement."""
        ((_, epoch, version, seen, ports, regions),) = self._fetch(queries.REFERENCE_DATA, (), deadline)
        return ReferenceData(
            Version(epoch, seen),
            Version(epoch, version),
            tuple(NamedLocation(*row) for row in ports),
            tuple(NamedLocation(*row) for row in regions),
        )

    def poll_version(self, seconds: float) -> PollResult:
        """Return the latest version, and the changes since the version of `latest`."""
        state = self._latest.state
        since = state.version.number if state else 0

        def accepts(rows: list[Row]) -> bool:
            return not self._latest.is_behind(Version(*rows[0][:2]), state)

        seconds = min(seconds, self._check_seconds)
        rows = self._connections.fetch(queries.POLL, (since,), seconds=seconds, accepts=accepts)
        epoch, version, since = rows[0][:3]
        changes = [(number, bytes(lanes) if lanes else None) for *_, number, lanes in rows if number is not None]
        return PollResult(Version(epoch, version), since, changes)

    def close_idle(self) -> None:
        """Close the connections that are not in use, so that an unused database can pause."""
        self._connections.close()

    def similar(self, text: str, deadline: float) -> list[str]:
        """Return up to three similar locations with their names; those with a similar code or slug come first."""
        wanted = text.replace("\0", "")[:60]
        found = self._connections.fetch(queries.LOCATIONS_SIMILAR, (wanted,), seconds=deadline - time.monotonic())
        names = {location: name for location, name, _ in found}
        if wanted.upper() in names:
            return [f"{wanted.upper()} ({names[wanted.upper()]})"]
        named = [location for location, _, is_named in found if is_named]
        similar = get_close_matches(wanted.upper(), names, n=3) + get_close_matches(wanted.lower(), names, n=3)
        return [f"{location} ({names[location]})" for location in dict.fromkeys([*similar, *named])][:3]

    def check(self) -> None:
        """Check that the database responds."""
        self._connections.fetch(queries.PING, seconds=self._check_seconds)

    def _fetch(self, statement: str, parameters: tuple[object, ...], deadline: float) -> list[Row]:
        view, seconds = self._view(), deadline - time.monotonic()
        return self._connections.fetch(
            statement, (*parameters, *view.parameters), seconds=seconds, accepts=view.accepts
        )

    def _view(self) -> View:
        """Return the version that the next statement reads, and whether to accept its rows."""
        state = self._latest.state
        as_of = state.version.number if state and self._is_fresh() else queries.LATEST

        def accepts(rows: list[Row]) -> bool:
            _, epoch, version, *_ = rows[0]
            return not self._latest.is_behind(Version(epoch, version), state)

        return View((as_of,), accepts)


def _add_up(rows: Sequence[Row]) -> Months:
    """Add up the rows of several batches by day; a row without a month means that there are none."""
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
