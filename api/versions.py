"""The newest data version that this process has seen, and a reader that never goes back behind it.

Behind one address there may be several databases, each replaying the writer's changes at its own pace:
two reads in a row may find a newer and then an older state. Customers must not.
"""

import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from api.connections import DatabaseAwayError
from api.parameters import RatesQuery
from api.reader import Places, Rates, RatesReader, Version

PAUSE_SECONDS = 0.02  # replicas of Aurora are some tens of milliseconds behind


class _Versioned(Protocol):
    @property
    def version(self) -> Version: ...


Found = TypeVar("Found", bound=_Versioned)


class Newest:
    """The newest version; `current` is None until one was seen."""

    def __init__(self) -> None:
        self.current: Version | None = None
        self._left: set[str] = set()  # epochs that were followed by others: what still shows them is behind
        self._lock = threading.Lock()

    def saw(self, version: Version) -> bool:
        """Take note of a version that was just read; return False if it is behind one seen before."""
        current = self.current
        if version == current:
            return True
        with self._lock:
            current = self.current
            if current is not None and version.epoch == current.epoch:
                if version.number < current.number:
                    return False
            elif version.epoch in self._left:
                return False
            elif current is not None:
                self._left.add(current.epoch)
            if version != current:
                self.current = version
            return True


class ForwardReader:
    """A reader whose answers are never older than an answer before.

    A read that finds an older version is repeated, once at least and for `patience_seconds` more.
    """

    def __init__(self, reader: RatesReader, newest: Newest, *, patience_seconds: float = 1.0) -> None:
        self._reader = reader
        self._newest = newest
        self._patience_seconds = patience_seconds

    def rates(self, query: RatesQuery) -> Rates:
        """Return the rates that the query asks for."""
        return self._forward(lambda: self._reader.rates(query))

    def places(self) -> Places:
        """Return all ports and regions."""
        return self._forward(self._reader.places)

    def alike(self, text: str) -> list[str]:
        """Return up to three locations that a person who wrote `text` may have meant."""
        return self._reader.alike(text)

    def check(self) -> None:
        """Ask the database for a sign of life."""
        self._reader.check()

    def _forward(self, read: Callable[[], Found]) -> Found:
        found = read()
        deadline = time.monotonic() + self._patience_seconds
        while not self._newest.saw(found.version):
            if time.monotonic() > deadline:
                raise DatabaseAwayError(f"the database is behind: it has {found.version}, not {self._newest.current}")
            time.sleep(PAUSE_SECONDS)
            found = read()
        return found
