"""What a client asks for, what the database answers, and the reader between the two."""

from collections.abc import Mapping
from datetime import date
from typing import Literal, NamedTuple, Protocol

from ratesflow.api.models.versions import PLACES, Version
from ratesflow.database.lanes import ANY, bucket

Kind = Literal["port", "region"]

Months = Mapping[date, tuple[list[int], list[int]]]
"""Counts and sums by day of the month, by the first day of the month."""


class Location(NamedTuple):
    """A port code or a region slug, told apart by its spelling; `kind` is None if it is neither."""

    text: str
    kind: Kind | None


class RatesQuery(NamedTuple):
    """A request for every day from `date_from` to `date_to`, both included."""

    date_from: date
    date_to: date
    orig: Location
    dest: Location


class Rates(NamedTuple):
    """Counts and sums by month and day as of `version`; `newest` is the version that the server has replayed."""

    version: Version
    newest: Version
    orig_known: bool
    dest_known: bool
    months: Months


class Place(NamedTuple):
    """A port (`key` is its code) or a region (its slug), and the region that contains it."""

    key: str
    name: str
    parent_slug: str | None


class Places(NamedTuple):
    """All ports by code, and all regions by slug, as of `version`."""

    version: Version
    newest: Version
    ports: tuple[Place, ...]
    regions: tuple[Place, ...]


class RatesReader(Protocol):
    """Reads what the service needs, each until a deadline of time.monotonic; all raise DatabaseUnavailableError."""

    def rates(self, query: RatesQuery, deadline: float) -> Rates:
        """Return the rates that the query asks for; both its locations must have a kind."""

    def places(self, deadline: float) -> Places:
        """Return all ports and regions."""

    def alike(self, text: str, deadline: float) -> list[str]:
        """Return up to three locations that are spelled or named like `text`."""

    def check(self) -> None:
        """Check quickly that the database responds."""


def bucket_of(orig: Location, dest: Location) -> int:
    """Return the bucket whose changes may change the response for two locations.

    Between a port and a region lie many lanes; all of them begin, or end, in that port.
    """
    if orig.kind is None or dest.kind is None:
        return PLACES
    if orig.kind == dest.kind:
        return bucket(orig.text, dest.text)
    return bucket(orig.text, ANY) if orig.kind == "port" else bucket(ANY, dest.text)
