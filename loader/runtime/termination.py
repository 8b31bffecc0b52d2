"""At SIGTERM, ends this process and its sessions within two seconds, even during a statement.

A Python signal handler would run only after psycopg2 returns from a statement. So the signal is blocked in all threads,
and one thread waits for it. Without this the server would also notice the end of the process, but a second later.
"""

import os
import signal
import threading
from typing import TYPE_CHECKING

import psycopg2

from ratesflow.database.connect import connect
from ratesflow.loader.runtime.errors import TransientError

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

# The longest wait for the database. Batch sends SIGKILL 30 seconds after SIGTERM.
WAIT_SECONDS = 1.0

_sessions: dict[int, tuple[str, int]] = {}


def end_at_sigterm() -> None:
    """Exit with 75 at SIGTERM, so that Batch retries the task elsewhere.

    To be called before any other thread starts, since new threads inherit the blocked signals.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_wait, name="sigterm", daemon=True).start()


def register(connection: "Connection", url: str) -> None:
    """Register a session that ends with the process."""
    _sessions[id(connection)] = (url, connection.info.backend_pid)


def unregister(connection: "Connection") -> None:
    """Remove a session that was closed."""
    _sessions.pop(id(connection), None)


def _wait() -> None:
    signal.sigwait({signal.SIGTERM})
    ender = threading.Thread(target=_end_sessions, name="ender", daemon=True)
    ender.start()
    ender.join(WAIT_SECONDS)
    os._exit(TransientError.exit_code)


def _end_sessions() -> None:
    sessions = list(_sessions.values())
    if not sessions:
        return
    try:
        # Not psycopg2's cancel, which holds the GIL until the server responds.
        connection = connect(sessions[0][0], "ratesflow-end", connect_timeout_seconds=2)
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", ([pid for _, pid in sessions],))
    except psycopg2.Error:
        pass  # the server ends the sessions itself when it notices the closed connections
