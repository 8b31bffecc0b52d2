"""Asks the database for its data version, again and again, so that answers which are known can be trusted.

How old an answer may be:

* ordinarily `interval_seconds` and the time of one small query, since each poll that finds another version
  makes all known answers forgotten;
* while polls fail `max_stale_seconds`, counted from the last one that succeeded: the database can be away
  for that long (a failover takes half a minute) before customers notice. After it nothing known is given.

Nobody asks for `idle_seconds`: the polls rest, so that a database which pauses when unused can do so.
The first request after that is answered from the database.
"""

import logging
import threading
import time
from typing import Protocol

from api.connections import DatabaseAwayError
from api.reader import Version
from api.versions import Newest

log = logging.getLogger("ratesflow.api")


class VersionReader(Protocol):
    """Who can tell the data version."""

    def version(self) -> Version:
        """Return the data version, quickly. Raises DatabaseAwayError."""

    def rest(self) -> None:
        """Leave the database alone: hold no connection to it that nobody uses."""


class Watch:
    """A thread that polls `reader` and tells `newest`; it starts with the first question."""

    def __init__(
        self,
        reader: VersionReader,
        newest: Newest,
        *,
        interval_seconds: float = 1.0,
        max_stale_seconds: float = 30.0,
        idle_seconds: float = 300.0,
    ) -> None:
        self._reader = reader
        self._newest = newest
        self._interval_seconds = interval_seconds
        self._max_stale_seconds = max(max_stale_seconds, 2 * interval_seconds)
        self._idle_seconds = idle_seconds
        self._good_until = self._seen_at = 0.0
        self._asked = False
        self._asked_at = 0.0
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def is_good(self) -> bool:
        """Return whether the newest version seen is still good to answer from."""
        self._asked = True
        if time.monotonic() < self._good_until:
            return True
        self._wake()
        return False

    def saw_at(self, moment: float) -> None:
        """Take note that at `moment` (of time.monotonic) the database was seen at the newest version."""
        self._seen_at = max(self._seen_at, moment)
        self._good_until = self._seen_at + self._max_stale_seconds
        self._wake()

    def age(self) -> float | None:
        """Return the seconds since the newest version was last confirmed; None if it never was."""
        return time.monotonic() - self._seen_at if self._seen_at else None

    def poll(self) -> None:
        """Ask once. Raises DatabaseAwayError."""
        moment = time.monotonic()
        if self._newest.saw(self._reader.version()):
            self.saw_at(moment)

    def _wake(self) -> None:
        if not self._wanted.is_set():
            self._wanted.set()
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="data-version", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        away = False
        self._asked_at = time.monotonic()
        while True:
            try:
                self.poll()
                if away:
                    log.info("the database is back")
                away = False
            except DatabaseAwayError as error:
                if not away:
                    log.warning("the data version cannot be read: %s", error)
                away = True
            except Exception:
                log.exception("the data version cannot be read")
            time.sleep(self._interval_seconds)
            self._rest_when_idle()

    def _rest_when_idle(self) -> None:
        now = time.monotonic()
        if self._asked:
            self._asked = False
            self._asked_at = now
        elif now - self._asked_at > self._idle_seconds:
            self._wanted.clear()
            self._good_until = 0.0
            self._reader.rest()
            self._wanted.wait()
            self._asked_at = time.monotonic()
