"""A reader that never goes back, and whose answers are all of the version that the worker is at."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeVar

from ratesflow.api.cache.version_poller import VersionPoller
from ratesflow.api.models.errors import DatabaseUnavailableError
from ratesflow.api.models.rates import Places, Rates, RatesQuery, RatesReader, bucket_of
from ratesflow.api.models.versions import PLACES, LatestVersion, Version

PAUSE_SECONDS = 0.02


class _Versioned(Protocol):
    @property
    def version(self) -> Version: ...
    @property
    def newest(self) -> Version: ...


Found = TypeVar("Found", bound=_Versioned)


class MonotonicReader:
    """A reader whose answers still hold at the version of `newest` when they are given.

    A read that could not be made as of that version moves `newest` to the one that it found. With a `watch`
    that is done by a poll, which tells what has changed in between; without, everything counts as changed.
    """

    def __init__(self, reader: RatesReader, newest: LatestVersion, watch: VersionPoller | None = None) -> None:
        self._reader = reader
        self._newest = newest
        self._watch = watch

    def rates(self, query: RatesQuery, deadline: float) -> Rates:
        """Return the rates that the query asks for."""
        return self._forward(
            lambda: self._reader.rates(query, deadline), lambda: bucket_of(query.orig, query.dest), deadline
        )

    def places(self, deadline: float) -> Places:
        """Return all ports and regions."""
        return self._forward(lambda: self._reader.places(deadline), lambda: PLACES, deadline)

    def alike(self, text: str, deadline: float) -> list[str]:
        """Return up to three locations that a person who wrote `text` may have meant."""
        return self._reader.alike(text, deadline)

    def check(self) -> None:
        """Ask the database for a sign of life."""
        self._reader.check()

    def _forward(self, read: Callable[[], Found], bucket: Callable[[], int], deadline: float) -> Found:
        while True:
            moment = time.monotonic()
            found = read()
            state = self._newest.state
            if state is None or found.newest != state.version:
                self._newest.show(found.newest)
                if not self._newest.includes(found.version):
                    self._catch_up(found.version, deadline)
                    state = self._newest.state
            if state is not None:
                if self._watch and found.newest == state.version:
                    self._watch.saw_at(moment)
                if found.version == state.version or state.holds(found.version, bucket()):
                    return found
            if time.monotonic() + PAUSE_SECONDS > deadline:
                raise DatabaseUnavailableError(
                    f"the database is behind: it has {found.version}, not {state and state.version}"
                )
            time.sleep(PAUSE_SECONDS)

    def _catch_up(self, version: Version, deadline: float) -> None:
        if self._watch:
            with suppress(DatabaseUnavailableError):
                self._watch.poll(deadline - time.monotonic())
        if not self._newest.includes(version):
            self._newest.adopt(version)
