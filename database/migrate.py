"""Bring the schema up to date: first roles and users, then all missing migrations."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from psycopg2 import errors
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from ratesflow.database.lock_retries import MIGRATION_LOCK, attempts
from ratesflow.database.logins import create_logins
from ratesflow.database.scripts import run_script
from ratesflow.database.tables import metadata

HERE = Path(__file__).parent
# How long one attempt waits for its locks: later requests queue behind it.
LOCK_SECONDS = 2.0
# The total wait: as long as a load may hold the locks.
TIMEOUT_SECONDS = 3600.0


_COLUMNS = """
SELECT relname AS table_name, attname AS column_name FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'public'::regnamespace AND relname = ANY (:tables) AND attnum > 0 AND NOT attisdropped
"""


class SchemaMismatchError(Exception):
    """The schema of the database is not that of its revision."""


def migrate(
    url: str, opened: Callable[[], Any] | None = None, migrations: Path = HERE / "migrations"
) -> tuple[str | None, str | None]:
    """Bring the database at `url` up to date; return the revisions before and after.

    `opened` opens the connection; the default is a plain one. The user must be able to create roles; see `logins` for
    the users that are created. All created objects belong to ratesflow_owner. It is safe to run at any time, twice at
    once, and again after a failure: each migration is one transaction. It waits for running loads without blocking
    new ones. Raises NoDatabaseError if the secret of a user cannot be read, and errors.LockNotAvailable if others
    hold a lock for an hour, and SchemaMismatchError if the database has the latest revision but lacks parts of it.
    """
    # SQLAlchemy 2.1 reads plain postgresql:// as psycopg 3.
    address = make_url(url).set(drivername="postgresql+psycopg2")
    engine = create_engine(address, poolclass=NullPool, **({"creator": opened} if opened else {}))
    with engine.connect() as connection:
        _wait_for_other_migrations(connection)
        run_script(connection, HERE / "roles.sql")
        create_logins(connection, os.environ)
        connection.exec_driver_sql("SET ROLE ratesflow_owner")
        connection.exec_driver_sql(f"SET lock_timeout = '{int(LOCK_SECONDS * 1000)}ms'")
        connection.commit()
        before = current_revision(connection)
        connection.commit()
        _upgrade(connection, migrations)
        after = current_revision(connection)
        _require_schema(connection, after)
        connection.commit()
    return before, after


def _require_schema(connection: Connection, revision: str | None) -> None:
    """Raise SchemaMismatchError if a table or a column that the revision has is missing."""
    found = connection.execute(text(_COLUMNS), {"tables": list(metadata.tables)}).all()
    expected = [(name, column.name) for name, table in metadata.tables.items() for column in table.columns]
    present = {(row.table_name, row.column_name) for row in found}
    if missing := sorted({f"{table}.{column}" for table, column in expected if (table, column) not in present}):
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise SchemaMismatchError(
            f"the database is at revision {revision} but lacks {', '.join(missing[:3])}{more}: "
            "an older version of ratesflow made it, and it cannot be migrated"
        )


def current_revision(connection: Connection) -> str | None:
    """Return the schema revision of the database; None if it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def _wait_for_other_migrations(connection: Connection) -> None:
    for last in attempts(TIMEOUT_SECONDS):
        locked = connection.execute(text("SELECT pg_try_advisory_lock(:lock, 0)"), {"lock": MIGRATION_LOCK}).scalar()
        connection.commit()
        if locked:
            return
        if last:
            raise errors.LockNotAvailable("another migration has been running for an hour")


def _upgrade(connection: Connection, migrations: Path) -> None:
    """Run the missing migrations; one that cannot get its locks is retried from its start."""
    for last in attempts(TIMEOUT_SECONDS):
        try:
            command.upgrade(_config(connection, migrations), "head")
        except DBAPIError as error:
            waits = isinstance(error.orig, errors.LockNotAvailable | errors.DeadlockDetected)
            if last or not waits:
                raise (error.orig if waits and error.orig else error) from error
            connection.rollback()
            time.sleep(LOCK_SECONDS)  # let the sessions that queued behind it go first
        else:
            return


def _config(connection: Connection, migrations: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.attributes["connection"] = connection
    return config
