"""The connection of a task, and the task errors for PostgreSQL's errors."""

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

# A longer wait for a lock means that something is wrong: the attempt ends, and a new one starts from the beginning.
LOCK_TIMEOUT_SECONDS = 15
# A restart or a failover takes up to a minute, and then the DNS name must move from the old writer to the new one.
# Waiting for it costs less than a new attempt of the task.
CONNECT_SECONDS = 90
PAUSE_SECONDS = 1.0


@contextmanager
def connected(task: str, work: str = "") -> Iterator["Connection"]:
    """Open the task's connection and close it at the end; `work` is the argument of `open_session`.

    Raises UsageError when no database is set, and `task_error` of each error of the database.
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
        raise task_error(error) from error
    finally:
        close_session(connection)


def task_error(error: psycopg2.Error) -> TaskError:
    """Return the task error for an error of the database, by the table in `ratesflow.database.sqlstates`.

    TransientError when a retry may help, ClosedError when the batch was closed meanwhile, else TaskError.
    """
    kind = kind_of(error)
    if kind in TRANSIENT:
        return TransientError(f"a transient error of the database: {_message(error)}")
    return (ClosedError if kind is Kind.CLOSED else TaskError)(f"an error of the database: {_message(error)}")


def _connected(task: str, work: str) -> "Connection":
    """Connect; wait for a database that restarts, fails over, or does not accept writes yet.

    The password that came with the job may have been rotated since: if it fails, the secret is fetched by its ARN.
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
                raise TransientError(f"cannot connect to the database: {_message(error)}") from error
            if environ.get("DATABASE_SECRET_ARN") and "password authentication failed" in str(error):
                environ.pop("DATABASE_SECRET", None)
            time.sleep(min(PAUSE_SECONDS, CONNECT_SECONDS / 10))


def _message(error: psycopg2.Error) -> str:
    return (error.diag.message_primary or str(error)).strip() or type(error).__name__
