"""Asks the database for its data version, again and again, and moves the worker to it with what has changed.

How old an answer may be:

* ordinarily `interval_seconds` and the time of one small query: with each poll that finds another version the
  worker moves to that one, and forgets the answers that it may have changed;
* while polls fail `max_stale_seconds`, counted from the last one that succeeded: the database can be away
  for that long (a failover takes half a minute) before customers notice. After it nothing known is given.

Nobody asks for `idle_seconds`: the polls rest, so that a database which pauses when unused can do so.
The first request after that is answered from the database.
"""

import logging
import threading
import time
from contextlib import suppress
from typing import Protocol

from ratesflow.api.models.errors import DatabaseUnavailableError
from ratesflow.api.models.versions import LatestVersion, News

# A client that knows of a newer version is content with a poll that began so long ago: its tag may be made up.
RECENT_SECONDS = 0.01
# Between polls for a client that knows of a newer version than the last one found; each is twice the one before.
FIRST_PAUSE_SECONDS = 0.05
# So many such clients may wait at once: they may have made the version up.
MOST_WAITING = 8

log = logging.getLogger("ratesflow.api")


class NewsReader(Protocol):
    """Who can tell the data version and what led to it."""

    def news(self, seconds: float) -> News:
        """Return what is new, within so many seconds. Raises DatabaseAwayError."""

    def rest(self) -> None:
        """Leave the database alone: hold no connection to it that nobody uses."""


class VersionPoller:
    """A thread that polls `reader` and tells `newest`; it starts with the first question."""

    def __init__(
        self,
        reader: NewsReader,
        newest: LatestVersion,
        *,
        interval_seconds: float = 1.0,
        max_stale_seconds: float = 30.0,
        idle_seconds: float = 300.0,
        poll_seconds: float = 1.0,
    ) -> None:
        self._reader = reader
        self._newest = newest
        self._interval_seconds = interval_seconds
        self.max_stale_seconds = max(max_stale_seconds, 2 * interval_seconds)
        self._idle_seconds = idle_seconds
        self._poll_seconds = poll_seconds
        self._polling = threading.Lock()
        self._polled_at = 0.0
        self._places = threading.Semaphore(MOST_WAITING)
        self._fresh_until = self._seen_at = 0.0
        self._asked = False
        self._asked_at = 0.0
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def is_fresh(self) -> bool:
        """Return whether the newest version seen is still good to answer from."""
        self._asked = True
        if time.monotonic() < self._fresh_until:
            return True
        self._wake()
        return False

    def saw_at(self, moment: float) -> None:
        """Take note that at `moment` (of time.monotonic) the database was seen at the newest version."""
        self._seen_at = max(self._seen_at, moment)
        self._fresh_until = self._seen_at + self.max_stale_seconds
        self._wake()

    def age(self) -> float | None:
        """Return the seconds since the newest version was last confirmed; None if it never was."""
        return time.monotonic() - self._seen_at if self._seen_at else None

    def poll(self, seconds: float, recent: float = 0.0) -> None:
        """Ask once, unless another's poll began since, or in the `recent` seconds before.

        Raises DatabaseAwayError, in so many seconds.
        """
        asked = time.monotonic()
        deadline = asked + seconds
        if not self._polling.acquire(timeout=max(0.0, seconds)):
            raise DatabaseUnavailableError("another look for a new data version takes too long")
        try:
            if self._polled_at > asked - recent:
                return
            moment = time.monotonic()
            news = self._reader.news(min(self._poll_seconds, deadline - moment))
            self._polled_at = moment
            if self._newest.hear(news):
                self.saw_at(moment)
        finally:
            self._polling.release()

    def reach(self, number: int, seconds: float) -> None:
        """Move to the version `number` of this epoch or a later one, as a client has seen it elsewhere.

        Polls, all who wait together, until it is found; after `seconds`, or at once if too many wait, stay.
        """
        deadline = time.monotonic() + seconds
        self._poll_quietly(seconds)
        if self._has(number) or not self._places.acquire(blocking=False):
            return
        try:
            pause = FIRST_PAUSE_SECONDS
            while not self._has(number) and (remaining := deadline - time.monotonic()) > pause:
                time.sleep(pause)
                pause *= 2
                if not self._has(number):
                    self._reader.rest()  # the next connection may lead to a server that has it
                    self._poll_quietly(remaining)
        finally:
            self._places.release()

    def _has(self, number: int) -> bool:
        state = self._newest.state
        return state is not None and state.version.number >= number

    def _poll_quietly(self, seconds: float) -> None:
        with suppress(DatabaseUnavailableError):
            self.poll(seconds, RECENT_SECONDS)

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
            shown = self._newest.shown
            try:
                self.poll(self._poll_seconds)
                if shown and not self._newest.includes(shown):
                    self._reader.rest()  # others are further: the next connection may lead to one of these
                if away:
                    log.info("the database is back")
                away = False
            except DatabaseUnavailableError as error:
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
            self._fresh_until = 0.0
            self._reader.rest()
            self._wanted.wait()
            self._asked_at = time.monotonic()
