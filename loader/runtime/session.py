"""Database sessions of a task: with limits, watched, and named so that a later attempt can terminate them."""

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

# Waits until the sessions are gone, so that the locks that they held are free.
_TERMINATE = """
SELECT CASE WHEN pg_has_role(usesysid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE')
    THEN pg_terminate_backend(pid, 5000) ELSE false END
FROM pg_stat_activity
WHERE application_name = %s AND datname = current_database() AND pid <> pg_backend_pid()
"""
# The longest wait for a full socket.
SOCKET_SECONDS = 120


def open_session(url: str, task: str, work: str = "") -> "Connection":
    """Connect for a task. `work` identifies the job: it is the same in all its attempts, and in no other job.

    Terminates the sessions of earlier attempts, which may hold locks that this one needs: their machine may be gone,
    or they may hang. Raises psycopg2.OperationalError.
    """
    name = session_name(task, work)
    connection = connect(url, name, options=watchdog.limits().options, writable=True)
    connection.cursor_factory = WatchedCursor
    termination.register(connection, url)
    if work:
        try:
            with connection, connection.cursor() as cursor:
                _terminate(cursor, name)
        except BaseException:
            close_session(connection)
            raise
    return connection


def end_sessions(cursor: Cursor, task: str, work: str) -> None:
    """Terminate the sessions of another task that are still doing this `work`."""
    _terminate(cursor, session_name(task, work))


def _terminate(cursor: Cursor, name: str) -> None:
    cursor.execute(_TERMINATE, (name,))
    if (False,) in cursor.fetchall():  # no permission: a migration could not grant it, and printed so
        log.error(f"cannot terminate an earlier attempt: {name}")


def close_session(connection: "Connection") -> None:
    """Close a connection that `open_session` opened."""
    termination.unregister(connection)
    connection.close()


def run_statement(connection: "Connection", statement: Any, values: Any = None) -> list[tuple[Any, ...]]:
    """Run one statement in a transaction of its own; return its rows, if it returns any."""
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def session_name(task: str, work: str = "") -> str:
    """Return the application_name of a session: at most 63 bytes, PostgreSQL's limit."""
    return f"ratesflow-{task}" + (f":{hashlib.sha256(work.encode()).hexdigest()[:16]}" if work else "")


class WatchedCursor(Cursor):
    """A cursor that reports its progress to the watchdog, and whose COPY cannot block other threads."""

    def execute(self, *arguments: Any, **named: Any) -> None:
        """Run a statement, for at most the time that the task's limit allows."""
        with watchdog.statement():
            super().execute(*arguments, **named)

    def executemany(self, *arguments: Any, **named: Any) -> None:
        """Run a statement once for each set of parameters."""
        with watchdog.statement():
            super().executemany(*arguments, **named)

    def copy_expert(self, sql: Any, file: Any, *arguments: Any, **named: Any) -> None:
        """Copy from a file or into one; each block counts as progress."""
        watchdog.alive()
        if hasattr(file, "read"):
            file = _DrainedFile(file, self.connection.fileno())
        super().copy_expert(sql, file, *arguments, **named)
        watchdog.alive()


class _Readable(Protocol):
    read: Callable[[int], bytes]


class _DrainedFile(io.RawIOBase):
    """The file of a COPY. Waits for space in the socket before it reports its end or an error.

    psycopg2 releases the GIL while it sends data, but not when it ends a COPY (PQputCopyEnd in `_pq_copy_in_v3`). If
    the socket were full then and the server did not read, because its backend is stopped or waits for a lock that
    another thread of this process holds, no thread could continue. A socket is writable when a third of its buffer is
    free; libpq then sends at most 8 KiB and the error message.
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
        # Where it supports tcp_user_timeout, the kernel closes a connection that is not acknowledged for a minute.
        writable = select.poll()
        writable.register(self._socket, select.POLLOUT)
        if not writable.poll(1000 * SOCKET_SECONDS):
            raise OSError(f"the server has read no data for {SOCKET_SECONDS} seconds")
