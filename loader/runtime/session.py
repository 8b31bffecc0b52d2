"""A task's sessions with the database: each has limits, is watched, and has a name by which a later attempt ends it."""

import hashlib
import io
import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ratesflow.database.connect import connect
from ratesflow.loader.runtime import termination, watchdog
from ratesflow.loader.runtime.log import log

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

# Waits until they are gone, with the locks that they held: what follows need not wait for those.
_END_EARLIER = """
SELECT CASE WHEN pg_has_role(usesysid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE')
    THEN pg_terminate_backend(pid, 5000) ELSE false END
FROM pg_stat_activity
WHERE application_name = %s AND datname = current_database() AND pid <> pg_backend_pid()
"""
# For which a full socket is waited for.
ROOM_SECONDS = 120


def open_session(url: str, task: str, work: str = "") -> "Connection":
    """Connect for a task. `work` says what it is to do, the same in every attempt of one job, and nowhere else.

    The sessions of earlier attempts are ended: one whose machine vanished, or which stands still, may hold every
    lock that this one needs. Raises psycopg2.OperationalError.
    """
    name = session_name(task, work)
    connection = connect(url, name, options=watchdog.limits().options, writable=True)
    connection.cursor_factory = WatchedCursor
    termination.opened(connection, url)
    if work:
        try:
            with connection, connection.cursor() as cursor:
                _end_earlier(cursor, name)
        except BaseException:
            close_session(connection)
            raise
    return connection


def end_sessions(cursor: Cursor, task: str, work: str) -> None:
    """End the sessions of another task that is still at `work`, as `open_session` ends those of its own attempts."""
    _end_earlier(cursor, session_name(task, work))


def _end_earlier(cursor: Cursor, name: str) -> None:
    cursor.execute(_END_EARLIER, (name,))
    if (False,) in cursor.fetchall():  # where a migration could not grant it, it said so
        log.error(f"an earlier attempt goes on: {name}")


def close_session(connection: "Connection") -> None:
    """Close what `open_session` opened."""
    termination.closed(connection)
    connection.close()


def run_statement(connection: "Connection", statement: Any, values: Any = None) -> list[tuple[Any, ...]]:
    """Run one statement in a transaction of its own; return its rows, if it returns any."""
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def session_name(task: str, work: str = "") -> str:
    """Return the application_name of a session, of which PostgreSQL keeps 63 bytes."""
    return f"ratesflow-{task}" + (f":{hashlib.sha256(work.encode()).hexdigest()[:16]}" if work else "")


class WatchedCursor(Cursor):
    """A cursor that tells the watchdog what it does, and whose COPY cannot stop the other threads."""

    def execute(self, *arguments: Any, **named: Any) -> None:
        """Run a statement, which may take as long as the task's limit says."""
        with watchdog.statement():
            super().execute(*arguments, **named)

    def executemany(self, *arguments: Any, **named: Any) -> None:
        """Run a statement several times."""
        with watchdog.statement():
            super().executemany(*arguments, **named)

    def copy_expert(self, sql: Any, file: Any, *arguments: Any, **named: Any) -> None:
        """Copy from a file, or into one, whose blocks are what counts as progress."""
        watchdog.alive()
        if hasattr(file, "read"):
            file = _EndsWithRoom(file, self.connection.fileno())
        super().copy_expert(sql, file, *arguments, **named)
        watchdog.alive()


class _Readable(Protocol):
    read: Callable[[int], bytes]


class _EndsWithRoom(io.RawIOBase):
    """The file of a COPY whose end, or whose failure, comes only when the socket has room for what is to be said.

    psycopg2 sends data without the interpreter's lock, but the end of it with the lock (PQputCopyEnd in
    `_pq_copy_in_v3`). While the socket is full and the server does not read, since its backend waits for a
    lock that another thread here holds, or is stopped, no thread could do anything. Writable means that a third of the
    socket's buffer is free; what libpq may still have is 8 KiB, and the message why.
    """

    def __init__(self, file: _Readable, socket: int) -> None:
        self._file, self._socket = file, socket

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, none at the end."""
        try:
            data = self._file.read(size)
        except BaseException:
            self._wait()
            raise
        if not data:
            self._wait()
        return data

    def _wait(self) -> None:
        # The kernel gives up a peer that takes nothing for a minute (tcp_user_timeout), where it can.
        writable = select.poll()
        writable.register(self._socket, select.POLLOUT)
        if not writable.poll(1000 * ROOM_SECONDS):
            raise OSError(f"the server has taken nothing for {ROOM_SECONDS} seconds")
