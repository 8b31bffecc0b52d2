"""Brings the schema up to date: roles and users first, then every migration that is missing."""

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

from ratesflow.database.lock_retries import MIGRATION_LOCK, tries
from ratesflow.database.logins import make_logins
from ratesflow.database.scripts import run_script

HERE = Path(__file__).parent
# A migration asks for its locks for so long at a time: whoever comes meanwhile queues behind it.
LOCK_SECONDS = 2.0
# In all it waits for as long as a load may hold what it needs.
PATIENCE_SECONDS = 3600.0


def migrate(
    url: str, opened: Callable[[], Any] | None = None, migrations: Path = HERE / "migrations"
) -> tuple[str | None, str | None]:
    """Bring the database at `url` up to date; return the revision before and after.

    `opened` opens the connection, by default a plain one. The user must be able to create roles; `logins`
    says which users are made. Everything made belongs to ratesflow_owner. Safe to run at any time, twice at once,
    and again after a failure: each migration is one transaction. It waits for loads under way without holding up
    those that come meanwhile. Raises NoDatabaseError when the secret of a user cannot be read,
    errors.LockNotAvailable when others hold a lock for an hour.
    """
    # SQLAlchemy 2.1 takes plain postgresql:// to mean psycopg 3.
    address = make_url(url).set(drivername="postgresql+psycopg2")
    engine = create_engine(address, poolclass=NullPool, **({"creator": opened} if opened else {}))
    with engine.connect() as connection:
        _wait_for_other_migrations(connection)
        run_script(connection, HERE / "roles.sql")
        make_logins(connection, os.environ)
        connection.exec_driver_sql("SET ROLE ratesflow_owner")
        connection.exec_driver_sql(f"SET lock_timeout = '{int(LOCK_SECONDS * 1000)}ms'")
        connection.commit()
        before = current_revision(connection)
        connection.commit()
        _upgrade(connection, migrations)
        after = current_revision(connection)
        connection.commit()
    return before, after


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the schema that `connection` reaches; None for an empty database."""
    return MigrationContext.configure(connection).get_current_revision()


def _wait_for_other_migrations(connection: Connection) -> None:
    for last in tries(PATIENCE_SECONDS):
        locked = connection.execute(text("SELECT pg_try_advisory_lock(:lock, 0)"), {"lock": MIGRATION_LOCK}).scalar()
        connection.commit()
        if locked:
            return
        if last:
            raise errors.LockNotAvailable("another migration has been at work for an hour")


def _upgrade(connection: Connection, migrations: Path) -> None:
    """Run the migrations that are missing; one that cannot have its locks is tried again, from its own beginning."""
    for last in tries(PATIENCE_SECONDS):
        try:
            command.upgrade(_config(connection, migrations), "head")
        except DBAPIError as error:
            waits = isinstance(error.orig, errors.LockNotAvailable | errors.DeadlockDetected)
            if last or not waits:
                raise (error.orig if waits and error.orig else error) from error
            connection.rollback()
            time.sleep(LOCK_SECONDS)  # whoever queued behind it goes first
        else:
            return


def _config(connection: Connection, migrations: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.attributes["connection"] = connection
    return config
