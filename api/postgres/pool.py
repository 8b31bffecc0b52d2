"""A pool of database connections: shared by threads, replaced when lost, each wait bounded by a deadline.

What it buys: psycopg2 has no time limit for a server that hangs, and libpq's limit for connecting is at least two
seconds. With psycopg2's own pool a request could wait longer than its client does. So connections are asynchronous
(psycopg2 documentation, "Asynchronous support"), and every wait for a socket ends at the request's deadline. They are
always in autocommit: no BEGIN, no ROLLBACK. Tests: ``tests/api/postgres/test_pool.py``.

Several servers may share one address, each replaying the writer's changes at its own pace. A connection to a server
that has not replayed enough is closed, and another one is opened, which may reach a server that has.
"""

import queue
import select
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import orjson
import psycopg2
from psycopg2 import errorcodes
from psycopg2.extensions import POLL_OK, POLL_READ
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.extras import register_default_json

from ratesflow.api.models.errors import DatabaseUnavailableError, OverloadedError
from ratesflow.api.postgres.addresses import Addresses, UnknownHostError
from ratesflow.database.connect import KEEPALIVES, SESSION
from ratesflow.database.sqlstates import TRANSIENT, Kind, kind_of

Row = tuple[Any, ...]
Accepts = Callable[[list[Row]], bool]

# The prepared statements of this session are gone, or a migration changed their results: a new session prepares them.
UNPREPARED = {errorcodes.INVALID_SQL_STATEMENT_NAME, errorcodes.FEATURE_NOT_SUPPORTED}
# The wait after which the rest of a statement is sent that did not fit into the socket at once.
FIRST_LOOK_MILLISECONDS = 20
# Pauses before a third and further connections, after two that reached servers that are behind.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.01, 0.2


class _PooledConnection(NamedTuple):
    connection: Connection
    cursor: Cursor  # created once, like the poll object, not for every statement
    readable: select.poll
    born: float


class ConnectionPool:
    """At most `size` connections, opened when needed, and at most `max_queued` requests that are queued for one.

    `session` is the SQL that prepares each new connection. A connection is renewed once it is `recycle_seconds` old,
    so that a changed address or a new reader is found. One that was not used for `idle_seconds` is closed: a database
    pauses only when nobody is connected. If a server is behind, an idle connection of `spare` is tried next.
    """

    def __init__(
        self,
        url: str,
        session: str,
        *,
        size: int = 8,
        max_queued: int = 32,
        recycle_seconds: float = 300,
        idle_seconds: float = 300,
        spare: "ConnectionPool | None" = None,
    ) -> None:
        self._url = url
        self._addresses = Addresses()
        self._spare = spare
        self._session = session
        self._recycle_seconds = recycle_seconds
        self._idle: list[_PooledConnection] = []  # last in, first out; list operations are atomic
        self._resting: list[_PooledConnection] = []  # idle since before the last tidying
        self._idle_seconds = idle_seconds
        self._tidying = False
        self._slots: queue.SimpleQueue[None] = (
            queue.SimpleQueue()
        )  # written in C; a semaphore takes seven times as long
        for _ in range(size):
            self._slots.put(None)
        self._size = size
        self._max_present = size + max_queued
        self._present = 0  # requests that run or wait
        self._statements = self._most = 0  # running or waiting; requests may share one
        self._counting = threading.Lock()

    def most_at_once(self) -> tuple[int, int]:
        """Return the most busy connections and the most waiting statements at one moment since the last call."""
        with self._counting:
            most, self._most = self._most, self._statements
        return min(most, self._size), max(0, most - self._size)

    def fetch(
        self, statement: str, parameters: Sequence[object] = (), *, seconds: float, accepts: Accepts | None = None
    ) -> list[Row]:
        """Run one read-only statement, and return its rows.

        A lost connection is replaced and the statement repeated once, within the same `seconds`. If `accepts` rejects
        the rows, their server is behind and others are tried. Raises DatabaseUnavailableError at the deadline,
        OverloadedError at once if too many requests wait, and psycopg2.Error if the statement itself fails.
        """
        deadline = time.monotonic() + seconds
        self.acquire()
        try:
            return self.run(statement, parameters, deadline, accepts)
        finally:
            self.release()

    def acquire(self) -> None:
        """Count a request, until `release`. Raises OverloadedError at once if too many wait."""
        with self._counting:
            if self._present >= self._max_present:
                raise OverloadedError("too many requests wait for the database")
            self._present += 1

    def release(self) -> None:
        """End the count of a request."""
        with self._counting:
            self._present -= 1

    def run(
        self, statement: str, parameters: Sequence[object], deadline: float, accepts: Accepts | None = None
    ) -> list[Row]:
        """Do the same as `fetch`, until `deadline` (of time.monotonic), for requests counted by `acquire`."""
        with self._counting:
            self._statements += 1
            if self._statements > self._most:
                self._most = self._statements
        try:
            return self._in_turn(statement, parameters, deadline, accepts)
        except (psycopg2.Error, UnknownHostError) as error:
            if isinstance(error, psycopg2.Error) and kind_of(error) not in TRANSIENT:
                raise
            raise DatabaseUnavailableError(str(error).strip() or type(error).__name__) from error
        finally:
            with self._counting:
                self._statements -= 1

    def close(self) -> None:
        """Close the connections that are not in use."""
        for unused in (self._idle, self._resting):
            with suppress(IndexError):  # another thread may take the last one meanwhile
                while True:
                    unused.pop().connection.close()

    def _in_turn(
        self, statement: str, parameters: Sequence[object], deadline: float, accepts: Accepts | None
    ) -> list[Row]:
        try:
            self._slots.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise OverloadedError("every connection to the database was busy for too long") from None
        try:
            kept = self._take() or self._open(deadline)
            rows = self._fetch(kept, statement, parameters, deadline, accepts)
            return self._elsewhere(statement, parameters, deadline, accepts) if rows is None else rows
        finally:
            self._slots.put(None)

    def _elsewhere(
        self, statement: str, parameters: Sequence[object], deadline: float, accepts: Accepts | None
    ) -> list[Row]:
        """Try one connection after another until one reaches a server that is not behind."""
        pause = 0.0
        kept = self._spare._take() if self._spare else None
        while True:
            try:
                kept = kept or self._take() or self._open(deadline)
                rows = self._fetch(kept, statement, parameters, deadline, accepts)
                if rows is not None:
                    return rows
            except psycopg2.OperationalError as error:  # this server is unavailable: others may not be
                if time.monotonic() >= deadline:
                    raise DatabaseUnavailableError(str(error)) from error
            kept = None
            if time.monotonic() + pause >= deadline:
                raise DatabaseUnavailableError("every reader is behind the data version that was served before")
            time.sleep(pause)
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2 or FIRST_PAUSE_SECONDS)

    def _fetch(
        self,
        kept: _PooledConnection,
        statement: str,
        parameters: Sequence[object],
        deadline: float,
        accepts: Accepts | None,
    ) -> list[Row] | None:
        """Return the rows; None if they are not accepted, and then the connection is closed."""
        try:
            try:
                rows = _execute(kept, statement, parameters, deadline)
            except psycopg2.Error as error:
                kind = kind_of(error)
                if kept.connection.closed or kind is Kind.RECONNECT or error.pgcode in UNPREPARED:
                    kept.connection.close()
                    kept = self._open(deadline)
                elif kind is not Kind.RETRY or time.monotonic() >= deadline:
                    raise
                rows = _execute(kept, statement, parameters, deadline)
            if accepts and not accepts(rows):
                kept.connection.close()
                return None
        except BaseException as error:
            # After an error from the server the connection is usable; after any other its state is unknown.
            if not (isinstance(error, psycopg2.Error) and error.pgcode):
                kept.connection.close()
            raise
        finally:
            if not kept.connection.closed:
                self._idle.append(kept)
        return rows

    def _take(self) -> _PooledConnection | None:
        while True:
            try:
                kept = self._idle.pop()
            except IndexError:
                try:
                    kept = self._resting.pop()
                except IndexError:
                    return None
            if time.monotonic() - kept.born < self._recycle_seconds:
                return kept
            kept.connection.close()

    def _start_tidying(self) -> None:
        with self._counting:
            if not self._tidying:
                self._tidying = True
                threading.Thread(target=self._tidy, name="idle-connections", daemon=True).start()

    def _tidy(self) -> None:
        """Close connections that stay unused between two runs, until none is open. Requests do nothing for it."""
        while True:
            time.sleep(self._idle_seconds / 2)
            unused, self._resting, self._idle = self._resting, self._idle, []
            with suppress(IndexError):
                while True:
                    unused.pop().connection.close()
            with self._counting:
                if not (self._statements or self._idle or self._resting):
                    self._tidying = False
                    return

    def _open(self, deadline: float) -> _PooledConnection:
        self._start_tidying()
        settings: dict[str, Any] = {"application_name": "ratesflow-api", "options": SESSION, **KEEPALIVES}
        settings |= self._addresses.settings(self._url, deadline)
        connection: Connection = psycopg2.connect(self._url, async_=True, **settings)
        try:
            _wait(connection, deadline)
            register_default_json(connection, loads=orjson.loads)
            readable = select.poll()
            readable.register(connection.fileno(), select.POLLIN)
            kept = _PooledConnection(connection, connection.cursor(), readable, time.monotonic())
            _execute(kept, self._session, (), deadline)
        except BaseException:
            connection.close()
            raise
        return kept


def _execute(kept: _PooledConnection, statement: str, parameters: Sequence[object], deadline: float) -> list[Row]:
    cursor = kept.cursor
    cursor.execute(statement, parameters or None)
    # Usually all is sent by now and the response comes next, so wait for it before calling psycopg2.
    kept.readable.poll(min(FIRST_LOOK_MILLISECONDS, max(0.0, deadline - time.monotonic()) * 1000))
    _wait(kept.connection, deadline)
    return cursor.fetchall() if cursor.description else []


def _wait(connection: Connection, deadline: float) -> None:
    """Wait until the connection has finished its operation, as psycopg2.extras.wait_select does.

    select.select fails beyond 1,024 open sockets; select.poll has no such limit.
    """
    while (state := connection.poll()) != POLL_OK:
        remaining = deadline - time.monotonic()
        if remaining > 0:
            poller = select.poll()
            poller.register(connection.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
            if poller.poll(remaining * 1000):
                continue
        raise DatabaseUnavailableError("the database did not respond in time")
