"""Sends the queries of requests that arrive at the same time in one round trip.

What it buys: most of the cost of a short statement is its round trip (sockets, processes and threads woken). While
one round trip is under way, requests queue; the next one takes them all, so the cost of each falls with the load
(`python -m benchmarks.api throughput`, the uncached requests). A request that finds nothing under way is sent at
once, alone. The thread of one request sends for all; there is no thread of its own.

To switch it off, set MOST_TOGETHER to 1: each request then makes its own round trip.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ratesflow.api.models.errors import DatabaseUnavailableError
from ratesflow.api.postgres.pool import Accepts, ConnectionPool, Row

# What a round trip carries at most: as many requests of weight 1, or fewer heavier ones.
MOST_TOGETHER = 32
# A request that has waited this long for another round trip starts its own: a slow statement or a connection that
# hangs delays only the requests that it already carries.
MAX_WAIT_SECONDS = 0.02


class View(NamedTuple):
    """What is the same for all of a statement: parameters that go last, and which rows will do."""

    parameters: tuple[object, ...] = ()
    accepts: Accepts | None = None


class _Asked:
    """A request that waits. `taken` (by a round trip) and `leads` (the next one) change under the lock."""

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

    Each of its parameters is a list with commas, with an element a request, so that no request's may have one;
    the first column of its rows is the number of the request, from 1, that a row is for. `view` is asked anew
    for each statement.
    """

    def __init__(self, connections: ConnectionPool, statement: str, view: Callable[[], View] = View) -> None:
        self._connections = connections
        self._statement = statement
        self._view = view
        self._lock = threading.Lock()
        self._waiting: deque[_Asked] = deque()
        self._under_way = 0

    def fetch(self, parameters: Sequence[str], *, seconds: float, weight: int = 1) -> list[Row]:
        """Return the rows of one request; `weight` is how much of the database's work it is.

        Raises what `Connections.fetch` raises.
        """
        deadline = time.monotonic() + seconds
        asked = _Asked(parameters, weight)
        self._connections.acquire()
        try:
            with self._lock:
                leads = not self._under_way
                if leads:
                    self._under_way += 1
                else:
                    self._waiting.append(asked)
            if leads or self._leads_after_waiting(asked, deadline):
                self._lead(asked, deadline)
            if asked.rows is None:  # what went wrong may be another's fault
                self._get([asked], deadline)
        finally:
            self._connections.release()
        return asked.rows or []

    def _leads_after_waiting(self, asked: _Asked, deadline: float) -> bool:
        """Wait for the rows; return whether to go and get them instead."""
        if asked.turn.acquire(timeout=max(0.0, min(MAX_WAIT_SECONDS, deadline - time.monotonic()))):
            return asked.leads
        with self._lock:
            if not asked.taken:
                self._waiting.remove(asked)
                self._under_way += 1
                return True
        asked.turn.acquire(timeout=max(0.0, deadline - time.monotonic()))
        with self._lock:
            return asked.leads  # perhaps since a moment ago, and then it must

    def _lead(self, asked: _Asked, deadline: float) -> None:
        """Get the rows of `asked` and of those who wait; one of those who came meanwhile is the next to lead."""
        together = [asked]
        room = MOST_TOGETHER - asked.weight
        if time.monotonic() < deadline:
            with self._lock:
                while self._waiting and self._waiting[0].weight <= room:
                    another = self._waiting.popleft()
                    another.taken = True
                    together.append(another)
                    room -= another.weight
        try:
            self._get(together, deadline)
        except Exception:
            if len(together) == 1:
                raise
            # Else each of them tries alone.
        finally:
            with self._lock:
                following = self._waiting.popleft() if self._waiting else None
                if following:
                    following.taken = following.leads = True
                else:
                    self._under_way -= 1
            if following:
                following.turn.release()
            for other in together[1:]:
                other.turn.release()

    def _get(self, together: list[_Asked], deadline: float) -> None:
        if time.monotonic() >= deadline:
            raise DatabaseUnavailableError("the database did not answer in time")
        lists = [",".join(values) for values in zip(*[each.parameters for each in together], strict=True)]
        rows: list[list[Row]] = [[] for _ in together]
        view = self._view()
        for row in self._connections.run(self._statement, [*lists, *view.parameters], deadline, view.accepts):
            rows[row[0] - 1].append(row)
        for each, found in zip(together, rows, strict=True):
            each.rows = found
