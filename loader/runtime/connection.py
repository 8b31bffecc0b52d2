"""The loader's connection, and what PostgreSQL's errors mean for a task."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg2

from ratesflow.database.connect import NoDatabaseError, database_url
from ratesflow.database.sqlstates import TRANSIENT, Kind, kind_of
from ratesflow.loader.runtime import fault_injection
from ratesflow.loader.runtime.errors import ClosedError, TaskError, TransientError, UsageError
from ratesflow.loader.runtime.session import close_session, open_session

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

# Waiting longer for a lock than this means that something is wrong: try again, with a fresh look.
LOCK_TIMEOUT_SECONDS = 15
# A restart or a failover takes up to a minute, and then the name must move from the old writer to the new one.
# An attempt of a task is dearer than to wait for it.
CONNECT_SECONDS = 90
PAUSE_SECONDS = 1.0


@contextmanager
def connected(task: str, work: str = "") -> Iterator["Connection"]:
    """Open the task's connection and close it after; `work` is what `open_session` says.

    Raises UsageError when no database is named, and for the database's own errors what `explained` returns.
    """
    connection = _connected(task, work)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = %s", (f"{LOCK_TIMEOUT_SECONDS}s",))
        connection.commit()
        if counting := fault_injection.cursor_factory():
            connection.cursor_factory = counting
        yield connection
    except psycopg2.Error as error:
        raise explained(error) from error
    finally:
        close_session(connection)


def explained(error: psycopg2.Error) -> TaskError:
    """Return what an error of the database means for a task, by the table of `ratesflow.database.sqlstates`.

    TransientError for everything that may pass, ClosedError when the batch was closed meanwhile, TaskError for what
    the database refuses for good.
    """
    kind = kind_of(error)
    if kind in TRANSIENT:
        return TransientError(f"the database did not finish the work: {_words(error)}")
    return (ClosedError if kind is Kind.CLOSED else TaskError)(f"the database refused: {_words(error)}")


def _connected(task: str, work: str) -> "Connection":
    """Connect, and wait a while for a database that restarts, fails over, or takes no writes yet.

    A password that came with the job may have been rotated since: if it is refused, the secret is fetched by its ARN.
    """
    environ = dict(os.environ)
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            return open_session(database_url(environ), task, work)
        except NoDatabaseError as error:
            raise UsageError(str(error)) from error
        except psycopg2.OperationalError as error:
            if time.monotonic() > deadline:
                raise TransientError(f"the database does not answer: {_words(error)}") from error
            if environ.get("DATABASE_SECRET_ARN") and "password authentication failed" in str(error):
                environ.pop("DATABASE_SECRET", None)
            time.sleep(min(PAUSE_SECONDS, CONNECT_SECONDS / 10))


def _words(error: psycopg2.Error) -> str:
    return (error.diag.message_primary or str(error)).strip() or type(error).__name__
