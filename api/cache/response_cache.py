"""Keeps responses, as they go over the wire, until a commit changes the data that they are made of.

What it buys: a cached response costs a tenth of one from the database (`python -m benchmarks.api throughput`), and
most stay cached while batches commit (`python -m benchmarks.api commits`). RATESFLOW_API_CACHE_MB=0 switches it off.

The memory is bounded in bytes and consists of two dictionaries: entries that are used go to the young one; when that
has its half, the old one is dropped and the young one becomes the old. Entries unused for long are evicted that way,
and a lookup takes no lock.

An ETag names a version since which the response has been the same, as far as the worker knows, and identifies the
request by a checksum. Any worker may have issued it: it stands for the response as of that version, and is still
valid where nothing has changed the response since. Workers that learned of a change at different times may issue
different ETags for the same response, and accept each other's.
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

# How an answer came about: kept, read from the database, from another request's read of the same.
Source = Literal["hit", "miss", "coalesced"]
Headers = list[tuple[str, str]]

ENTRY_BYTES = 1_500  # what an answer's objects, headers and place in a dictionary take, roughly


# No database has moved so many versions since a worker last looked: a client that names one has made it up.
MOST_AHEAD = 10_000
PATIENCE = 0.5  # the share of its time that a request spends on finding a version that its client knows of


class Question(NamedTuple):
    """What is asked: the `key` is all that an answer depends on but the data, the `bucket` what of the data."""

    key: str
    bucket: int


class Answer(NamedTuple):
    """A body and its headers, which hold the ETag; read as of `version`."""

    version: Version
    bucket: int
    etag: str
    headers: Headers
    body: bytes


class Content(NamedTuple):
    """What a load gives: the data version that it is of, its media type, and the bytes."""

    version: Version
    media_type: str
    body: bytes


class _Memory:
    """The answers of one epoch."""

    __slots__ = ("epoch", "old", "old_bytes", "young", "young_bytes")

    def __init__(self, epoch: str | None) -> None:
        self.epoch = epoch
        self.young: dict[str, Answer] = {}
        self.old: dict[str, Answer] = {}
        self.young_bytes = self.old_bytes = 0


class ResponseCache:
    """Answers by key.

    `max_bytes` of 0 keeps nothing, and then every request reads by itself. At most `max_waiting` requests
    wait for reads of others, for `seconds` at most.
    """

    def __init__(
        self,
        newest: LatestVersion,
        watch: VersionPoller,
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
        self._outdated = 0
        self._loads: dict[str, Future[Answer]] = {}
        self._lock = threading.Lock()
        self._places = threading.Semaphore(max_waiting)

    def deadline(self) -> float:
        """Return until when (of time.monotonic) a request that comes now is to be answered."""
        return time.monotonic() + self._seconds

    def get(self, key: str) -> Answer | None:
        """Return the answer if it is known and still good."""
        state, memory = self._newest.state, self._memory
        if state is None or memory.epoch != state.version.epoch or not self._watch.is_fresh():
            return None
        answer = memory.young.get(key)
        if answer is not None:
            if state.changed[answer.bucket] <= answer.version.number:
                return answer
            self._outdated += 1  # without a lock: it is only counted
        elif (answer := memory.old.get(key)) and state.changed[answer.bucket] <= answer.version.number:
            self._keep(key, answer)
            return answer
        return None

    def unchanged(self, tags: Sequence[str], question: Question) -> str | None:
        """Return, in quotes, that of these ETags which stands for the answer as it is now, known or not.

        None if there is none, or if that takes a look at the database.
        """
        state = self._newest.state
        if state is None or not tags or not self._max_bytes or not self._watch.is_fresh():
            return None
        checksum = _checksum(question.key)
        for tag in tags:
            version, its_checksum = _named(tag)
            if its_checksum == checksum and version and state.holds(version, question.bucket):
                self._newest.gave(version.number)
                return f'"{tag}"'
        return None

    def answer(
        self, question: Question, load: Callable[[float], Content], deadline: float | None = None
    ) -> tuple[Answer, Source]:
        """Return an answer: a known one, or that of `load`, which runs once for all who ask meanwhile.

        Raises what `load` raises, by the deadline; OverloadedError when too many wait for it.
        """
        deadline = self.deadline() if deadline is None else deadline
        if not self._max_bytes:
            return self._load(question, load, deadline), "miss"
        while True:
            if known := self.get(question.key):
                return known, "hit"
            with self._lock:
                under_way = self._loads.get(question.key)
                if under_way is None:
                    ours = self._loads[question.key] = Future()
            if under_way is None:
                return self._lead(question, load, deadline, ours), "miss"
            with self._place():
                answer = self._joined(under_way, deadline)
            if self._holds(answer) or answer is self._former(question):  # else it began before we came
                return answer, "coalesced"

    def reach(self, tags: Sequence[str]) -> None:
        """Move to the newest version that these ETags of a client name, if it is newer than any seen here."""
        if self._max_bytes and not self._watch.is_fresh():
            with suppress(DatabaseUnavailableError):
                self._watch.poll(self._seconds * PATIENCE)
        state = self._newest.state
        if state is None:
            return
        at = state.version
        shown = [version.number for version, _ in map(_named, tags) if version and version.epoch == at.epoch]
        newest = max((number for number in shown if number <= at.number + MOST_AHEAD), default=0)
        if newest <= at.number:
            self._newest.gave(newest)
        else:
            self._watch.reach(newest, self._seconds * PATIENCE)

    def size(self) -> tuple[int, int]:
        """Return how many answers are kept, and their bytes."""
        memory = self._memory
        return len(memory.young) + len(memory.old), memory.young_bytes + memory.old_bytes

    def outdated_since(self) -> int:
        """Return how many looks, since last asked, found an answer that a commit had changed."""
        outdated, self._outdated = self._outdated, 0
        return outdated

    def _lead(
        self, question: Question, load: Callable[[float], Content], deadline: float, ours: "Future[Answer]"
    ) -> Answer:
        try:
            # Another may have ended between our look at what is known and our turn.
            answer = self.get(question.key) or self._load(question, load, deadline)
            self._keep(question.key, answer)
            ours.set_result(answer)
        except BaseException as error:
            ours.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._loads[question.key]
        return answer

    def _load(self, question: Question, load: Callable[[float], Content], deadline: float) -> Answer:
        former = self._former(question)
        try:
            content = load(min(deadline, time.monotonic() + self._seconds * PATIENCE) if former else deadline)
        except DatabaseUnavailableError:
            if former and former is self._former(question):
                return former
            raise
        version, state = content.version, self._newest.state
        since = version.number
        if state and state.holds(version, question.bucket):
            since = state.changed[question.bucket]
        self._newest.gave(since)
        tag = f'"{version.epoch}-{since}-{_checksum(question.key)}"'
        headers = [
            ("Content-Type", content.media_type),
            ("Content-Length", str(len(content.body))),
            ("ETag", tag),
            *self.headers,
        ]
        return Answer(version, question.bucket, tag, headers, content.body)

    def _former(self, question: Question) -> Answer | None:
        """Return the answer as it was before a change of which no client has been told anything yet."""
        state, memory = self._newest.state, self._memory
        if state is None or memory.epoch != state.version.epoch or not self._watch.is_fresh():
            return None
        changed = state.changed[question.bucket]
        answer = memory.young.get(question.key) or memory.old.get(question.key)
        if answer is None or changed <= self._newest.given or (moment := self._newest.reached_at(changed)) is None:
            return None
        return answer if time.monotonic() - moment < self._watch.max_stale_seconds else None

    def _holds(self, answer: Answer) -> bool:
        state = self._newest.state
        return state is not None and state.holds(answer.version, answer.bucket)

    def _joined(self, under_way: "Future[Answer]", deadline: float) -> Answer:
        try:
            return under_way.result(max(0.0, deadline - time.monotonic()))
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
        size = _size(key, answer)
        with self._lock:
            state = self._newest.state
            if state is None or not state.holds(answer.version, answer.bucket) or size > self._max_bytes // 4:
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
            memory.young[key] = answer
            memory.young_bytes += size


def _size(key: str, answer: Answer) -> int:
    return len(key) + len(answer.body) + ENTRY_BYTES


def _checksum(key: str) -> str:
    return f"{zlib.crc32(key.encode('utf-8', 'surrogateescape')):08x}"


def _named(tag: str) -> tuple[Version | None, str]:
    """Return the version that an ETag names, and the checksum of its request; None and nothing if it is not ours."""
    rest, _, checksum = tag.rpartition("-")
    epoch, _, number = rest.rpartition("-")
    if not (number.isascii() and number.isdecimal() and len(number) < 19):
        return None, ""
    return Version(epoch, int(number)), checksum
