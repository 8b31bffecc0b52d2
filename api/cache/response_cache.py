"""Caches responses as sent to clients, until a commit changes the data that they are made of.

What it buys: a cached response costs a tenth of one from the database (`python -m benchmarks.api throughput`), and
most stay cached while batches commit (`python -m benchmarks.api commits`). RATESFLOW_API_CACHE_MB=0 switches it off.

The memory is bounded in bytes and consists of two dictionaries. Entries that are used go into the young one. When that
has reached half of the memory, the old one is dropped and the young one becomes the old. So entries that are unused for
long are evicted, and a lookup takes no lock.

An ETag contains a version since which the response has not changed, as far as the worker knows, and a checksum of the
request. Any worker may have issued it: it identifies the response as of that version, and is valid as long as nothing
has changed the response since. Workers that learned of a change at different times may issue different ETags for the
same response, and accept each other's.
"""

import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Literal, NamedTuple

from ratesflow.api.cache.version_poller import VersionPoller
from ratesflow.api.models.errors import DatabaseUnavailableError, OverloadedError
from ratesflow.api.models.versions import LatestVersion, Version

# Where a response came from: the cache, the database, or the read of another request for the same response.
Source = Literal["hit", "miss", "coalesced"]
Headers = list[tuple[str, str]]

ENTRY_BYTES = 1_500  # roughly the objects, the headers and the entry in the dictionary
# No database advances by this many versions between two polls: an ETag with a later version is invented.
MAX_AHEAD = 10_000
WAIT_SHARE = 0.5  # the share of its time that a request may wait for the version in its client's ETag


class Lookup(NamedTuple):
    """What a response depends on: the request (`key`), and a part of the data (`bucket`)."""

    key: str
    bucket: int


class CachedResponse(NamedTuple):
    """A body and its headers, including the ETag; read as of `version`."""

    version: Version
    bucket: int
    etag: str
    headers: Headers
    body: bytes


class Content(NamedTuple):
    """What is loaded: the body, its media type, and the data version of its rates."""

    version: Version
    media_type: str
    body: bytes


class _Memory:
    """The responses of one epoch."""

    __slots__ = ("epoch", "old", "old_bytes", "young", "young_bytes")

    def __init__(self, epoch: str | None) -> None:
        self.epoch = epoch
        self.young: dict[str, CachedResponse] = {}
        self.old: dict[str, CachedResponse] = {}
        self.young_bytes = self.old_bytes = 0


class ResponseCache:
    """Responses by key.

    With `max_bytes` 0 nothing is cached, and every request reads by itself. At most `max_coalesced` requests wait for
    the reads of others, for `seconds` at most.
    """

    def __init__(
        self,
        latest: LatestVersion,
        poller: VersionPoller,
        *,
        cache_control: str = "public, max-age=5",
        max_bytes: int = 64_000_000,
        max_coalesced: int = 100,
        seconds: float = 2.0,
    ) -> None:
        self._latest = latest
        self._poller = poller
        # Sent with every response, also with a 304 (RFC 9110, 15.4.5).
        self.headers: Headers = [("Cache-Control", cache_control), ("Vary", "Accept")]
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._memory = _Memory(None)
        self._invalidated = 0
        self._loads: dict[str, Future[CachedResponse]] = {}
        self._lock = threading.Lock()
        self._coalesced_slots = threading.Semaphore(max_coalesced)

    def deadline(self) -> float:
        """Return the deadline, by time.monotonic, of a request that arrives now."""
        return time.monotonic() + self._seconds

    def get(self, key: str) -> CachedResponse | None:
        """Return the cached response if there is one and it is valid."""
        state, memory = self._latest.state, self._memory
        if state is None or memory.epoch != state.version.epoch or not self._poller.is_fresh():
            return None
        cached = memory.young.get(key)
        if cached is not None:
            if state.changed[cached.bucket] <= cached.version.number:
                return cached
            self._invalidated += 1  # without a lock: an approximate count is enough
        elif (cached := memory.old.get(key)) and state.changed[cached.bucket] <= cached.version.number:
            self._keep(key, cached)
            return cached
        return None

    def unchanged(self, tags: Sequence[str], lookup: Lookup) -> str | None:
        """Return, in quotes, the ETag among these that identifies the current response, cached or not.

        Return None if there is none, or if only a read can show it.
        """
        state = self._latest.state
        if state is None or not tags or not self._max_bytes or not self._poller.is_fresh():
            return None
        checksum = _checksum(lookup.key)
        for tag in tags:
            version, its_checksum = _named(tag)
            if its_checksum == checksum and version and state.holds(version, lookup.bucket):
                self._latest.note_issued(version.number)
                return f'"{tag}"'
        return None

    def get_or_load(
        self, lookup: Lookup, load: Callable[[float], Content], deadline: float | None = None
    ) -> tuple[CachedResponse, Source]:
        """Return a response from the cache or from `load`, which runs once for all simultaneous requests.

        Raises what `load` raises, by the deadline, and OverloadedError if too many requests wait for it.
        """
        deadline = self.deadline() if deadline is None else deadline
        if not self._max_bytes:
            return self._load(lookup, load, deadline), "miss"
        while True:
            if cached := self.get(lookup.key):
                return cached, "hit"
            with self._lock:
                loading = self._loads.get(lookup.key)
                if loading is None:
                    ours = self._loads[lookup.key] = Future()
            if loading is None:
                return self._lead(lookup, load, deadline, ours), "miss"
            with self._place():
                cached = self._wait_for(loading, deadline)
            if self._holds(cached) or cached is self._previous(lookup):  # otherwise it was read before this request
                return cached, "coalesced"

    def reach(self, tags: Sequence[str]) -> None:
        """Advance to the latest version in these ETags of a client, if it is newer than any seen here."""
        if self._max_bytes and not self._poller.is_fresh():
            with suppress(DatabaseUnavailableError):
                self._poller.poll(self._seconds * WAIT_SHARE)
        state = self._latest.state
        if state is None:
            return
        at = state.version
        versions = [version.number for version, _ in map(_named, tags) if version and version.epoch == at.epoch]
        latest = max((number for number in versions if number <= at.number + MAX_AHEAD), default=0)
        if latest <= at.number:
            self._latest.note_issued(latest)
        else:
            self._poller.reach(latest, self._seconds * WAIT_SHARE)

    def size(self) -> tuple[int, int]:
        """Return the number of cached responses, and their bytes."""
        memory = self._memory
        return len(memory.young) + len(memory.old), memory.young_bytes + memory.old_bytes

    def invalidated_since_last(self) -> int:
        """Return how many lookups since the last call found a response that a commit had invalidated."""
        invalidated, self._invalidated = self._invalidated, 0
        return invalidated

    def _lead(
        self, lookup: Lookup, load: Callable[[float], Content], deadline: float, ours: "Future[CachedResponse]"
    ) -> CachedResponse:
        try:
            # Another load may have ended since the lookup above.
            cached = self.get(lookup.key) or self._load(lookup, load, deadline)
            self._keep(lookup.key, cached)
            ours.set_result(cached)
        except BaseException as error:
            ours.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._loads[lookup.key]
        return cached

    def _load(self, lookup: Lookup, load: Callable[[float], Content], deadline: float) -> CachedResponse:
        previous = self._previous(lookup)
        try:
            content = load(min(deadline, time.monotonic() + self._seconds * WAIT_SHARE) if previous else deadline)
        except DatabaseUnavailableError:
            if previous and previous is self._previous(lookup):
                return previous
            raise
        version, state = content.version, self._latest.state
        since = version.number
        if state and state.holds(version, lookup.bucket):
            since = state.changed[lookup.bucket]
        self._latest.note_issued(since)
        tag = f'"{version.epoch}-{since}-{_checksum(lookup.key)}"'
        headers = [
            ("Content-Type", content.media_type),
            ("Content-Length", str(len(content.body))),
            ("ETag", tag),
            *self.headers,
        ]
        return CachedResponse(version, lookup.bucket, tag, headers, content.body)

    def _previous(self, lookup: Lookup) -> CachedResponse | None:
        """Return the response from before its last change, if no client has seen a version with that change."""
        state, memory = self._latest.state, self._memory
        if state is None or memory.epoch != state.version.epoch or not self._poller.is_fresh():
            return None
        changed = state.changed[lookup.bucket]
        cached = memory.young.get(lookup.key) or memory.old.get(lookup.key)
        if cached is None or changed <= self._latest.issued or (moment := self._latest.reached_at(changed)) is None:
            return None
        return cached if time.monotonic() - moment < self._poller.max_stale_seconds else None

    def _holds(self, cached: CachedResponse) -> bool:
        state = self._latest.state
        return state is not None and state.holds(cached.version, cached.bucket)

    def _wait_for(self, loading: "Future[CachedResponse]", deadline: float) -> CachedResponse:
        try:
            return loading.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise OverloadedError("another request's read of the same response takes too long") from None

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._coalesced_slots.acquire(blocking=False):
            raise OverloadedError("too many requests wait for the same response")
        try:
            yield
        finally:
            self._coalesced_slots.release()

    def _keep(self, key: str, cached: CachedResponse) -> None:
        size = _size(key, cached)
        with self._lock:
            state = self._latest.state
            if state is None or not state.holds(cached.version, cached.bucket) or size > self._max_bytes // 4:
                return
            if self._memory.epoch != state.version.epoch:
                self._memory = _Memory(state.version.epoch)
            memory = self._memory
            if (kept := memory.young.pop(key, None)) is not None:
                memory.young_bytes -= _size(key, kept)
            if (kept := memory.old.pop(key, None)) is not None:
                memory.old_bytes -= _size(key, kept)
            if memory.young_bytes + size > self._max_bytes // 2:
                memory.old, memory.young = memory.young, {}
                memory.old_bytes, memory.young_bytes = memory.young_bytes, 0
            memory.young[key] = cached
            memory.young_bytes += size


def _size(key: str, cached: CachedResponse) -> int:
    return len(key) + len(cached.body) + ENTRY_BYTES


def _checksum(key: str) -> str:
    return f"{zlib.crc32(key.encode('utf-8', 'surrogateescape')):08x}"


def _named(tag: str) -> tuple[Version | None, str]:
    """Return the version and the checksum in an ETag; None and an empty text if it is not one of ours."""
    rest, _, checksum = tag.rpartition("-")
    epoch, _, number = rest.rpartition("-")
    if not (number.isascii() and number.isdecimal() and len(number) < 19):
        return None, ""
    return Version(epoch, int(number)), checksum
