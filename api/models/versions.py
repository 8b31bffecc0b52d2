"""Which version of the data a worker answers from, and what has changed since.

A worker is at one version at a time, and never goes back. When it moves it learns which lanes each version in
between has touched (the table ``changes``), as buckets of a hash; all other answers stay good, and keep their ETags.
"""

import threading
import time
from array import array
from collections import defaultdict, deque
from typing import NamedTuple

from ratesflow.database.lanes import BUCKETS, buckets

# A poll returns at most so many changes: a worker further behind takes everything for changed.
MOST_CHANGES = 256
# Of answers that depend on ports and regions alone: changed only by what changes everything.
PLACES = BUCKETS


class Version(NamedTuple):
    """The state of the data: `number` grows with each change; a database restored has another `epoch`."""

    epoch: str
    number: int


class News(NamedTuple):
    """What a poll finds: the newest version, and what each version after `since` changed.

    A change is its version's number with a bitmap of the lanes that it touches, or None for everything.
    """

    version: Version
    since: int
    changes: list[tuple[int, bytes | None]]


class State(NamedTuple):
    """What a worker knows: `version`, and for each bucket a version since which nothing in it has changed."""

    version: Version
    changed: "array[int]"

    def holds(self, version: Version, at: int) -> bool:
        """Return whether what was read at `version` is still so in bucket `at`."""
        return version.epoch == self.version.epoch and self.changed[at] <= version.number <= self.version.number


class LatestVersion:
    """The state that a worker is at; `state` is None until it has seen one."""

    def __init__(self) -> None:
        self.state: State | None = None
        # The largest version that an ETag given to a client names: nothing older than it may be told of its lanes.
        self.given = 0
        # The newest version that any server has shown, while answers were read as of the one that the worker is at.
        self.shown: Version | None = None
        self._moves: deque[tuple[int, float]] = deque(maxlen=MOST_CHANGES)  # numbers of versions, and when
        self._left: set[str] = set()  # epochs that were followed by others: what still shows them is behind
        self._lock = threading.Lock()

    def hear(self, news: News) -> bool:
        """Move to what a poll found; return False, and stay, if it is behind."""
        with self._lock:
            if self.is_behind(news.version, self.state):
                return False
            if self.state is None or news.version != self.state.version:
                if self.state and self.state.version.epoch != news.version.epoch:
                    self._left.add(self.state.version.epoch)
                    self.given, self.shown = 0, None
                    self._moves.clear()
                self.state = _moved(self.state, news)
                self._moves.append((news.version.number, time.monotonic()))
            return True

    def adopt(self, version: Version) -> bool:
        """Move to a version of which nothing else is known: everything may have changed."""
        return self.hear(News(version, version.number, []))

    def is_behind(self, version: Version, than: State | None) -> bool:
        """Return whether what shows `version` has not replayed all that led to the state `than`."""
        if than is None or version.epoch != than.version.epoch:
            return version.epoch in self._left
        return version.number < than.version.number

    def show(self, version: Version) -> None:
        """Take note of a version that a server has."""
        shown = self.shown
        if shown is None or version.epoch != shown.epoch or version.number > shown.number:
            self.shown = version

    def includes(self, version: Version) -> bool:
        """Return whether the worker is at `version` or a later one."""
        state = self.state
        return state is not None and version.epoch == state.version.epoch and version.number <= state.version.number

    def reached_at(self, number: int) -> float | None:
        """Return when (of time.monotonic) the worker moved to that version or past it; None if that is long ago."""
        moves = list(self._moves)
        if not moves or moves[0][0] > number:
            return None
        return next((moment for reached, moment in moves if reached >= number), None)

    def gave(self, number: int) -> None:
        """Take note that a client was given, or has, an ETag that names this version."""
        if number > self.given:
            with self._lock:
                self.given = max(self.given, number)


def _moved(known: State | None, news: News) -> State:
    """Return the state after `news`; a version that is missing there has changed everything, for all we know."""
    number = news.version.number
    if known and known.version.epoch == news.version.epoch and known.version.number >= news.since:
        begin, changed = known.version.number, known.changed[:]
    else:
        begin = min(news.since, number)
        changed = _all(begin)
    found: dict[int, list[bytes | None]] = defaultdict(list)
    for version, lanes in news.changes:
        found[version].append(lanes)
    seen = 0  # buckets that a later version has touched
    for version in range(number, begin, -1):
        if version not in found or None in found[version]:
            rest, changed = changed, _all(version)
            _copy(rest, changed, seen)
            break
        for lanes in found[version]:
            fresh = int.from_bytes(lanes or b"", "little") & ~seen
            seen |= fresh
            for at in buckets(fresh.to_bytes(BUCKETS // 8, "little")):
                changed[at] = version
    return State(news.version, changed)


def _all(version: int) -> "array[int]":
    return array("q", [version]) * (BUCKETS + 1)


def _copy(source: "array[int]", target: "array[int]", bits: int) -> None:
    for at in buckets(bits.to_bytes(BUCKETS // 8, "little")):
        target[at] = source[at]
