"""SIGTERM: ends this process within two seconds, and its sessions with it, whatever they are at.

A handler in Python would run only when psycopg2 comes back from a statement. So the signal is blocked everywhere,
and a thread waits for it. The server would notice that this process is gone, too, but only a second later.
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

# Batch kills what has not ended 30 seconds after SIGTERM. A database that is away is not waited for.
SECONDS = 1.0

_sessions: dict[int, tuple[str, int]] = {}


def end_at_sigterm() -> None:
    """End this process with 75 at SIGTERM: who took the machine away wants the task tried elsewhere.

    To be called before any other thread begins, since threads take over which signals are blocked.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_wait, name="sigterm", daemon=True).start()


def opened(connection: "Connection", url: str) -> None:
    """Note a session that is to be ended with the process."""
    _sessions[id(connection)] = (url, connection.info.backend_pid)


def closed(connection: "Connection") -> None:
    """Forget a session."""
    _sessions.pop(id(connection), None)


def _wait() -> None:
    signal.sigwait({signal.SIGTERM})
    ender = threading.Thread(target=_end_sessions, name="ender", daemon=True)
    ender.start()
    ender.join(SECONDS)
    os._exit(TransientError.exit_code)


def _end_sessions() -> None:
    sessions = list(_sessions.values())
    if not sessions:
        return
    try:
        # psycopg2's own cancel holds the interpreter's lock for as long as the server takes to answer.
        connection = connect(sessions[0][0], "ratesflow-end", connect_timeout_seconds=2)
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", ([pid for _, pid in sessions],))
    except psycopg2.Error:
        pass  # then the server notices by itself, as soon as it can be reached
