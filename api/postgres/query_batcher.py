"""Sends the queries of requests that arrive at the same time in one round trip.

What it buys: most of the cost of a short statement is its round trip (sockets, processes and threads that wake up).
While one round trip is running, requests queue, and the next one takes them all. So the cost of each falls with the
load (`python -m benchmarks.api throughput`, the uncached requests). A request that finds no round trip running is sent
at once, alone. The thread of one request sends for all; the batcher has no thread of its own.

To switch it off, set MAX_BATCHED to 1: each request then makes its own round trip.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ratesflow.api.models.errors import DatabaseUnavailableError
from ratesflow.api.postgres.pool import Accepts, ConnectionPool, Row

# The maximum weight of one round trip: this many requests of weight 1, or fewer heavier ones.
MAX_BATCHED = 32
# A request that has waited this long starts another round trip: a slow statement or a hung connection delays only the
# requests that it carries.
MAX_WAIT_SECONDS = 0.02


class View(NamedTuple):
    """What all requests of a statement share: the last parameters, and which rows are accepted."""

    parameters: tuple[object, ...] = ()
    accepts: Accepts | None = None


class _PendingQuery:
    """A waiting request. `taken` (by a round trip) and `leads` (the next one) change under the lock."""

    __slots__ = ("leads", "parameters", "rows", "taken", "turn", "weight")

    def __init__(self, parameters: Sequence[str], weight: int) -> None:
        self.parameters = parameters
        self.weight = weight
        self.turn = threading.Lock()  # released when its wait is over
        self.turn.acquire()
        self.taken = self.leads = False
        self.rows: list[Row] | None = None


class QueryBatcher:
    """Runs `statement` for many requests at once.

    Each parameter of the statement is a list with commas, one element per request, so values must not contain commas.
    The first column of each row is the number of its request, from 1. `view` is called for each statement.
    """

    def __init__(self, connections: ConnectionPool, statement: str, view: Callable[[], View] = View) -> None:
        self._connections = connections
        self._statement = statement
        self._view = view
        self._lock = threading.Lock()
        self._queued: deque[_PendingQuery] = deque()
        self._in_flight = 0

    def fetch(self, parameters: Sequence[str], *, seconds: float, weight: int = 1) -> list[Row]:
        """Return the rows of one request; `weight` is its share of the database's work.

        Raises what `ConnectionPool.fetch` raises.
        """
        deadline = time.monotonic() + seconds
        pending = _PendingQuery(parameters, weight)
        self._connections.acquire()
        try:
            with self._lock:
                leads = not self._in_flight
                if leads:
                    self._in_flight += 1
                else:
                    self._queued.append(pending)
            if leads or self._leads_after_wait(pending, deadline):
                self._lead(pending, deadline)
            if pending.rows is None:  # another request of the batch may have caused the failure
                self._get([pending], deadline)
        finally:
            self._connections.release()
        return pending.rows or []

    def _leads_after_wait(self, pending: _PendingQuery, deadline: float) -> bool:
        """Wait for the rows; return whether this request must fetch them instead."""
        if pending.turn.acquire(timeout=max(0.0, min(MAX_WAIT_SECONDS, deadline - time.monotonic()))):
            return pending.leads
        with self._lock:
            if not pending.taken:
                self._queued.remove(pending)
                self._in_flight += 1
                return True
        pending.turn.acquire(timeout=max(0.0, deadline - time.monotonic()))
        with self._lock:
            return pending.leads  # it may have become the leader at the last moment

    def _lead(self, pending: _PendingQuery, deadline: float) -> None:
        """Fetch the rows of `pending` and of waiting requests; then make one that arrived meanwhile the next leader."""
        together = [pending]
        room = MAX_BATCHED - pending.weight
        if time.monotonic() < deadline:
            with self._lock:
                while self._queued and self._queued[0].weight <= room:
                    another = self._queued.popleft()
                    another.taken = True
                    together.append(another)
                    room -= another.weight
        try:
            self._get(together, deadline)
        except Exception:
            if len(together) == 1:
                raise
            # Otherwise each request tries alone.
        finally:
            with self._lock:
                following = self._queued.popleft() if self._queued else None
                if following:
                    following.taken = following.leads = True
                else:
                    self._in_flight -= 1
            if following:
                following.turn.release()
            for other in together[1:]:
                other.turn.release()

    def _get(self, together: list[_PendingQuery], deadline: float) -> None:
        if time.monotonic() >= deadline:
            raise DatabaseUnavailableError("the database did not respond in time")
        lists = [",".join(values) for values in zip(*[each.parameters for each in together], strict=True)]
        rows: list[list[Row]] = [[] for _ in together]
        view = self._view()
        for row in self._connections.run(self._statement, [*lists, *view.parameters], deadline, view.accepts):
            rows[row[0] - 1].append(row)
        for each, found in zip(together, rows, strict=True):
            each.rows = found
