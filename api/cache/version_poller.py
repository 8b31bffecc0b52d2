"""Polls the data version, and advances the worker to it with the changes since the last poll.

The maximum age of a response:

* normally `interval_seconds`, plus the time of one small query: after a poll that finds a newer version, the worker
  advances to it and drops the cached responses that may have changed;
* while polls fail, `max_stale_seconds` since the last one that succeeded: the database can be unavailable for that long
  (a failover takes half a minute) before clients notice. After that no cached response is served.

After `idle_seconds` without a request, polling stops, so that a database that pauses when unused can do so.
The next request is read from the database.
"""

import logging
import threading
import time
from contextlib import suppress
from typing import Protocol

from ratesflow.api.models.errors import DatabaseUnavailableError
from ratesflow.api.models.versions import LatestVersion, PollResult

# A poll that began this long ago is recent enough for a client with a newer ETag, which may be invented.
RECENT_SECONDS = 0.01
# The first pause between polls for a client with a newer ETag; each pause is twice the one before.
FIRST_PAUSE_SECONDS = 0.05
# How many such clients may wait at the same time.
MAX_WAITING = 8

log = logging.getLogger("ratesflow.api")


class VersionReader(Protocol):
    """Reads the data version and the changes that led to it."""

    def poll_version(self, seconds: float) -> PollResult:
        """Return the latest version and the changes, within `seconds`. Raises DatabaseUnavailableError."""

    def close_idle(self) -> None:
        """Close the connections that are not in use."""


class VersionPoller:
    """A thread that polls `reader` and advances `latest`; it starts with the first request."""

    def __init__(
        self,
        reader: VersionReader,
        latest: LatestVersion,
        *,
        interval_seconds: float = 1.0,
        max_stale_seconds: float = 30.0,
        idle_seconds: float = 300.0,
        poll_seconds: float = 1.0,
    ) -> None:
        self._reader = reader
        self._latest = latest
        self._interval_seconds = interval_seconds
        self.max_stale_seconds = max(max_stale_seconds, 2 * interval_seconds)
        self._idle_seconds = idle_seconds
        self._poll_seconds = poll_seconds
        self._polling = threading.Lock()
        self._polled_at = 0.0
        self._waiters = threading.Semaphore(MAX_WAITING)
        self._fresh_until = self._seen_at = 0.0
        self._was_used = False
        self._used_at = 0.0
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def is_fresh(self) -> bool:
        """Return whether the latest version is recent enough to serve."""
        self._was_used = True
        if time.monotonic() < self._fresh_until:
            return True
        self._wake()
        return False

    def confirm_at(self, moment: float) -> None:
        """Record that the database had the latest version at `moment` (of time.monotonic)."""
        self._seen_at = max(self._seen_at, moment)
        self._fresh_until = self._seen_at + self.max_stale_seconds
        self._wake()

    def age(self) -> float | None:
        """Return the seconds since the latest version was last confirmed; None if it never was."""
        return time.monotonic() - self._seen_at if self._seen_at else None

    def poll(self, seconds: float, recent: float = 0.0) -> None:
        """Poll once, unless another poll has begun since, or in the `recent` seconds before.

        Raises DatabaseUnavailableError, within `seconds`.
        """
        called = time.monotonic()
        deadline = called + seconds
        if not self._polling.acquire(timeout=max(0.0, seconds)):
            raise DatabaseUnavailableError("another poll of the data version takes too long")
        try:
            if self._polled_at > called - recent:
                return
            moment = time.monotonic()
            polled = self._reader.poll_version(min(self._poll_seconds, deadline - moment))
            self._polled_at = moment
            if self._latest.advance(polled):
                self.confirm_at(moment)
        finally:
            self._polling.release()

    def reach(self, number: int, seconds: float) -> None:
        """Advance to version `number` of this epoch or a later one, which a client has seen elsewhere.

        Polls until it is found; callers that wait share the polls. Gives up after `seconds`, or at once if too many do.
        """
        deadline = time.monotonic() + seconds
        self._poll_quietly(seconds)
        if self._has(number) or not self._waiters.acquire(blocking=False):
            return
        try:
            pause = FIRST_PAUSE_SECONDS
            while not self._has(number) and (remaining := deadline - time.monotonic()) > pause:
                time.sleep(pause)
                pause *= 2
                if not self._has(number):
                    self._reader.close_idle()  # the next connection may reach a server that has it
                    self._poll_quietly(remaining)
        finally:
            self._waiters.release()

    def _has(self, number: int) -> bool:
        state = self._latest.state
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
        failing = False
        self._used_at = time.monotonic()
        while True:
            seen = self._latest.seen
            try:
                self.poll(self._poll_seconds)
                if seen and not self._latest.includes(seen):
                    self._reader.close_idle()  # other servers have it: the next connection may reach one
                if failing:
                    log.info("the database can be reached again")
                failing = False
            except DatabaseUnavailableError as error:
                if not failing:
                    log.warning("the data version cannot be read: %s", error)
                failing = True
            except Exception:
                log.exception("the data version cannot be read")
            time.sleep(self._interval_seconds)
            self._pause_when_idle()

    def _pause_when_idle(self) -> None:
        now = time.monotonic()
        if self._was_used:
            self._was_used = False
            self._used_at = now
        elif now - self._used_at > self._idle_seconds:
            self._wanted.clear()
            self._fresh_until = 0.0
            self._reader.close_idle()
            self._wanted.wait()
            self._used_at = time.monotonic()
