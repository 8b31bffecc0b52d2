"""What a client requests, what the database returns, and the interface of the reader between them."""

from collections.abc import Mapping
from datetime import date
from typing import Literal, NamedTuple, Protocol

from ratesflow.api.models.versions import REFERENCE_DATA, Version
from ratesflow.database.lanes import ANY, bucket

Kind = Literal["port", "region"]

Months = Mapping[date, tuple[list[int], list[int]]]
"""Counts and sums by day of the month, by the first day of the month."""


class Location(NamedTuple):
    """A port code or a region slug, distinguished by its spelling; `kind` is None if it is neither."""

    text: str
    kind: Kind | None


class RatesQuery(NamedTuple):
    """A request for every day from `date_from` to `date_to`, inclusive."""

    date_from: date
    date_to: date
    orig: Location
    dest: Location


class Rates(NamedTuple):
    """Counts and sums by month and day as of `version`; `latest` is the latest version that the server has replayed."""

    version: Version
    latest: Version
    orig_known: bool
    dest_known: bool
    months: Months


class NamedLocation(NamedTuple):
    """A port (`key` is its code) or a region (its slug), and the region that contains it."""

    key: str
    name: str
    parent_slug: str | None


class ReferenceData(NamedTuple):
    """All ports by code, and all regions by slug, as of `version`."""

    version: Version
    latest: Version
    ports: tuple[NamedLocation, ...]
    regions: tuple[NamedLocation, ...]


class RatesReader(Protocol):
    """Reads from the database, until a deadline of time.monotonic. Every method raises DatabaseUnavailableError."""

    def rates(self, query: RatesQuery, deadline: float) -> Rates:
        """Return the requested rates; both locations must have a kind."""

    def reference_data(self, deadline: float) -> ReferenceData:
        """Return all ports and regions."""

    def similar(self, text: str, deadline: float) -> list[str]:
        """Return up to three locations with a similar code or name."""

    def check(self) -> None:
        """Check that the database responds."""


def bucket_of(orig: Location, dest: Location) -> int:
    """Return the bucket whose changes may change the response for two locations.

    A port and a region are connected by many lanes, all of which begin or end in that port.
    """
    if orig.kind is None or dest.kind is None:
        return REFERENCE_DATA
    if orig.kind == dest.kind:
        return bucket(orig.text, dest.text)
    return bucket(orig.text, ANY) if orig.kind == "port" else bucket(ANY, dest.text)
