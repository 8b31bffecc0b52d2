"""The data version that a worker serves, and which lanes have changed since an earlier one.

A worker serves one version at a time and never goes back. When it advances, it reads which lanes each version in
between has touched (from the table ``changes``), as buckets of a hash. All other responses stay valid and keep their
ETags.
"""

import threading
import time
from array import array
from collections import defaultdict, deque
from typing import NamedTuple

from ratesflow.database.lanes import BUCKETS, buckets

# The maximum number of changes that a poll returns: for a worker that is further behind, everything counts as changed.
MAX_CHANGES = 256
# The bucket of responses that depend only on ports and regions: only a change of everything changes it.
REFERENCE_DATA = BUCKETS


class Version(NamedTuple):
    """A state of the data: `number` grows with each change; a restored database has another `epoch`."""

    epoch: str
    number: int


class PollResult(NamedTuple):
    """The result of a poll: the latest version, and what each version after `since` changed.

    A change is the number of its version and a bitmap of the lanes that it touches, or None for everything.
    """

    version: Version
    since: int
    changes: list[tuple[int, bytes | None]]


class State(NamedTuple):
    """What a worker serves: `version`, and for each bucket a version since which it has not changed."""

    version: Version
    changed: "array[int]"

    def holds(self, version: Version, at: int) -> bool:
        """Return whether data of bucket `at` that was read at `version` is still valid."""
        return version.epoch == self.version.epoch and self.changed[at] <= version.number <= self.version.number


class LatestVersion:
    """The latest state that a worker has seen; `state` is None before the first."""

    def __init__(self) -> None:
        self.state: State | None = None
        # The largest version in an ETag that a client has: no older state may be served to it.
        self.issued = 0
        # The latest version that any server has shown; the worker may still serve an older one.
        self.seen: Version | None = None
        self._moves: deque[tuple[int, float]] = deque(maxlen=MAX_CHANGES)  # numbers of versions, and when reached
        self._left: set[str] = set()  # earlier epochs: a server that still shows one is behind
        self._lock = threading.Lock()

    def advance(self, polled: PollResult) -> bool:
        """Advance to the version of a poll; return False, and change nothing, if that version is older."""
        with self._lock:
            if self.is_behind(polled.version, self.state):
                return False
            if self.state is None or polled.version != self.state.version:
                if self.state and self.state.version.epoch != polled.version.epoch:
                    self._left.add(self.state.version.epoch)
                    self.issued, self.seen = 0, None
                    self._moves.clear()
                self.state = _moved(self.state, polled)
                self._moves.append((polled.version.number, time.monotonic()))
            return True

    def adopt(self, version: Version) -> bool:
        """Advance to a version without knowing what changed: everything counts as changed."""
        return self.advance(PollResult(version, version.number, []))

    def is_behind(self, version: Version, than: State | None) -> bool:
        """Return whether a server that shows `version` has not replayed everything up to the state `than`."""
        if than is None or version.epoch != than.version.epoch:
            return version.epoch in self._left
        return version.number < than.version.number

    def note_seen(self, version: Version) -> None:
        """Record a version that a server has shown."""
        seen = self.seen
        if seen is None or version.epoch != seen.epoch or version.number > seen.number:
            self.seen = version

    def includes(self, version: Version) -> bool:
        """Return whether the worker serves `version` or a later one."""
        state = self.state
        return state is not None and version.epoch == state.version.epoch and version.number <= state.version.number

    def reached_at(self, number: int) -> float | None:
        """Return when (by time.monotonic) the worker reached that version; None if that is too long ago."""
        moves = list(self._moves)
        if not moves or moves[0][0] > number:
            return None
        return next((moment for reached, moment in moves if reached >= number), None)

    def note_issued(self, number: int) -> None:
        """Record that a client has an ETag with this version."""
        if number > self.issued:
            with self._lock:
                self.issued = max(self.issued, number)


def _moved(state: State | None, polled: PollResult) -> State:
    """Return the state after a poll; a version that it does not list counts as a change of everything."""
    number = polled.version.number
    if state and state.version.epoch == polled.version.epoch and state.version.number >= polled.since:
        begin, changed = state.version.number, state.changed[:]
    else:
        begin = min(polled.since, number)
        changed = _all(begin)
    found: dict[int, list[bytes | None]] = defaultdict(list)
    for version, lanes in polled.changes:
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
    return State(polled.version, changed)


def _all(version: int) -> "array[int]":
    return array("q", [version]) * (BUCKETS + 1)


def _copy(source: "array[int]", target: "array[int]", bits: int) -> None:
    for at in buckets(bits.to_bytes(BUCKETS // 8, "little")):
        target[at] = source[at]
