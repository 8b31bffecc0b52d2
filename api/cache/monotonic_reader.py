"""A reader that never goes back, and whose results are valid at the version that the worker serves."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeVar

from ratesflow.api.cache.version_poller import VersionPoller
from ratesflow.api.models.errors import DatabaseUnavailableError
from ratesflow.api.models.rates import Rates, RatesQuery, RatesReader, ReferenceData, bucket_of
from ratesflow.api.models.versions import REFERENCE_DATA, LatestVersion, Version

PAUSE_SECONDS = 0.02


class _Versioned(Protocol):
    @property
    def version(self) -> Version: ...
    @property
    def latest(self) -> Version: ...


Found = TypeVar("Found", bound=_Versioned)


class MonotonicReader:
    """A reader whose results are valid at the version of `latest` when they are returned.

    A read that finds a newer version advances `latest` to it. With a `poller` this is done by a poll, which also
    returns what has changed in between; without one, everything counts as changed.
    """

    def __init__(self, reader: RatesReader, latest: LatestVersion, poller: VersionPoller | None = None) -> None:
        self._reader = reader
        self._latest = latest
        self._poller = poller

    def rates(self, query: RatesQuery, deadline: float) -> Rates:
        """Return the requested rates."""
        return self._read(
            lambda: self._reader.rates(query, deadline), lambda: bucket_of(query.orig, query.dest), deadline
        )

    def reference_data(self, deadline: float) -> ReferenceData:
        """Return all ports and regions."""
        return self._read(lambda: self._reader.reference_data(deadline), lambda: REFERENCE_DATA, deadline)

    def similar(self, text: str, deadline: float) -> list[str]:
        """Return up to three locations with a similar code or name."""
        return self._reader.similar(text, deadline)

    def check(self) -> None:
        """Check that the database responds."""
        self._reader.check()

    def _read(self, read: Callable[[], Found], bucket: Callable[[], int], deadline: float) -> Found:
        while True:
            moment = time.monotonic()
            found = read()
            state = self._latest.state
            if state is None or found.latest != state.version:
                self._latest.note_seen(found.latest)
                if not self._latest.includes(found.version):
                    self._catch_up(found.version, deadline)
                    state = self._latest.state
            if state is not None:
                if self._poller and found.latest == state.version:
                    self._poller.confirm_at(moment)
                if found.version == state.version or state.holds(found.version, bucket()):
                    return found
            if time.monotonic() + PAUSE_SECONDS > deadline:
                raise DatabaseUnavailableError(
                    f"the database is behind: it has {found.version}, not {state and state.version}"
                )
            time.sleep(PAUSE_SECONDS)

    def _catch_up(self, version: Version, deadline: float) -> None:
        if self._poller:
            with suppress(DatabaseUnavailableError):
                self._poller.poll(deadline - time.monotonic())
        if not self._latest.includes(version):
            self._latest.adopt(version)
