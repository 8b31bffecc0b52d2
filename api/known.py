"""Answers that are known: kept, as they go over the wire, until the data version moves.

The memory is bounded in bytes. It is two dictionaries: what is used goes to the young one; when that has
its half, the old one is thrown away and the young one becomes the old. That forgets what was not used for
long, and costs a request no lock.
"""

import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Literal, NamedTuple

from api.connections import OverloadedError
from api.reader import Version
from api.versions import Newest
from api.watch import Watch

# How an answer came about: kept, read from the database, from another request's read of the same.
Source = Literal["known", "read", "joined"]
Headers = list[tuple[str, str]]

ENTRY_BYTES = 1_500  # what an answer's objects, headers and place in a dictionary take, roughly


class Answer(NamedTuple):
    """A body and its headers, which hold the ETag."""

    version: Version
    etag: str
    headers: Headers
    body: bytes


class Content(NamedTuple):
    """What a load gives: the data version that it is of, its media type, and the bytes."""

    version: Version
    media_type: str
    body: bytes


class _Memory:
    """The answers of one version."""

    __slots__ = ("old", "old_bytes", "version", "young", "young_bytes")

    def __init__(self, version: Version | None) -> None:
        self.version = version
        self.young: dict[str, Answer] = {}
        self.old: dict[str, Answer] = {}
        self.young_bytes = self.old_bytes = 0


class KnownAnswers:
    """Answers by key, which is all that they depend on but the data.

    `max_bytes` of 0 keeps nothing, and then every request reads by itself. At most `max_waiting` requests
    wait for reads of others, for `seconds` at most.
    """

    def __init__(
        self,
        newest: Newest,
        watch: Watch,
        *,
        cache_control: str = "public, max-age=5",
        max_bytes: int = 64_000_000,
        max_waiting: int = 100,
        seconds: float = 2.0,
    ) -> None:
        self._newest = newest
        self._watch = watch
        # What goes with every answer, and with a 304 as well (RFC 9110, 15.4.5).
        self.headers: Headers = [("Cache-Control", cache_control), ("Vary", "Accept")]
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._memory = _Memory(None)
        self._loads: dict[str, Future[Answer]] = {}
        self._lock = threading.Lock()
        self._places = threading.Semaphore(max_waiting)

    def recall(self, key: str) -> Answer | None:
        """Return the answer if it is known and still good."""
        memory = self._memory
        if memory.version is None or memory.version is not self._newest.current or not self._watch.is_good():
            return None
        answer = memory.young.get(key)
        if answer is None and (answer := memory.old.pop(key, None)):
            self._keep(key, answer)
        return answer

    def current_etag(self, key: str) -> str | None:
        """Return the ETag that an answer has now, known or not; None if that takes a look at the database."""
        version = self._newest.current
        if version is None or not self._max_bytes or not self._watch.is_good():
            return None
        return etag(version, key)

    def answer(self, key: str, load: Callable[[], Content]) -> tuple[Answer, Source]:
        """Return an answer: a known one, or that of `load`, which runs once for all who ask meanwhile.

        Raises what `load` raises; OverloadedError when too many wait for it.
        """
        if not self._max_bytes:
            return self._load(key, load), "read"
        if known := self.recall(key):
            return known, "known"
        with self._lock:
            under_way = self._loads.get(key)
            if under_way is None:
                ours = self._loads[key] = Future()
        if under_way is not None:
            with self._place():
                return self._joined(under_way), "joined"
        try:
            # Another may have ended between our look at what is known and our turn.
            answer = self.recall(key) or self._load(key, load)
            self._keep(key, answer)
            ours.set_result(answer)
        except BaseException as error:
            ours.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._loads[key]
        return answer, "read"

    def must_be_newer(self, tag: str) -> None:
        """Look at the database if a client shows the ETag of a version that is newer than any seen here."""
        epoch, _, number = tag.rpartition("-")[0].rpartition("-")
        current = self._newest.current
        if current and epoch == current.epoch and number.isdecimal() and current.number < int(number[:18]):
            self._watch.poll()

    def size(self) -> tuple[int, int]:
        """Return how many answers are kept, and their bytes."""
        memory = self._memory
        return len(memory.young) + len(memory.old), memory.young_bytes + memory.old_bytes

    def _load(self, key: str, load: Callable[[], Content]) -> Answer:
        moment = time.monotonic()
        content = load()
        if self._max_bytes and content.version == self._newest.current:
            self._watch.saw_at(moment)
        tag = etag(content.version, key)
        headers = [
            ("Content-Type", content.media_type),
            ("Content-Length", str(len(content.body))),
            ("ETag", tag),
            *self.headers,
        ]
        return Answer(content.version, tag, headers, content.body)

    def _joined(self, under_way: "Future[Answer]") -> Answer:
        try:
            return under_way.result(self._seconds)
        except TimeoutError:
            raise OverloadedError("the same answer has been under way for too long") from None

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise OverloadedError("too many requests wait for the same answer")
        try:
            yield
        finally:
            self._places.release()

    def _keep(self, key: str, answer: Answer) -> None:
        size = len(key) + len(answer.body) + ENTRY_BYTES
        with self._lock:
            if answer.version != self._newest.current or size > self._max_bytes // 4:
                return
            if self._memory.version is not self._newest.current:
                self._memory = _Memory(self._newest.current)
            memory = self._memory
            if key in memory.young:
                return
            if memory.young_bytes + size > self._max_bytes // 2:
                memory.old, memory.young = memory.young, {}
                memory.old_bytes, memory.young_bytes = memory.young_bytes, 0
            memory.young[key] = answer
            memory.young_bytes += size


def etag(version: Version, key: str) -> str:
    """Return the ETag of an answer: it names the data version, and the request by a checksum."""
    return f'"{version.epoch}-{version.number}-{zlib.crc32(key.encode("utf-8", "surrogateescape")):08x}"'
