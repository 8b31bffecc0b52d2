"""Brings the schema up to date: roles and users first, then every migration that is missing."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from database.logins import make_logins
from database.scripts import run_script

HERE = Path(__file__).parent
# Any fixed number: two migrations at the same moment wait for one another instead of clashing.
ADVISORY_LOCK = 7_283_729


def migrate(url: str, opened: Callable[[], Any] | None = None) -> tuple[str | None, str | None]:
    """Bring the database at `url` up to date; return the revision before and after.

    `opened` opens the connection, by default a plain one. The user must be able to create roles; `database.logins`
    says which users are made. Everything made belongs to ratesflow_owner. Safe to run at any time, twice at once,
    and again after a failure: each migration is one transaction. Raises NoDatabaseError when the secret of a user
    cannot be read.
    """
    # SQLAlchemy 2.1 takes plain postgresql:// to mean psycopg 3.
    address = make_url(url).set(drivername="postgresql+psycopg2")
    engine = create_engine(address, poolclass=NullPool, **({"creator": opened} if opened else {}))
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": ADVISORY_LOCK})
        run_script(connection, HERE / "roles.sql")
        make_logins(connection, os.environ)
        connection.exec_driver_sql("SET ROLE ratesflow_owner")
        connection.commit()
        before = current_revision(connection)
        connection.commit()
        command.upgrade(_config(connection), "head")
        after = current_revision(connection)
        connection.commit()
    return before, after


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the schema that `connection` reaches; None for an empty database."""
    return MigrationContext.configure(connection).get_current_revision()


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(HERE / "migrations"))
    config.attributes["connection"] = connection
    return config
