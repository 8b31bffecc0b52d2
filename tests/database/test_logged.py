"""The database's log settings on AWS: errors are logged, passwords of rotations are not."""

import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from ratesflow.local.postgres.server import VERSION, Postgres, start_postgres
from ratesflow.local.processes import free_port
from tests.fix_database import PASSWORD
from tests.loader.processes import wait_until
from tests.terraform.sources import text

# Libraries that are not in the wheel, and parameters of RDS.
ABSENT = re.compile(r"shared_preload_libraries|auto_explain\.|pgaudit\.|rds\.")


def settings() -> dict[str, str]:
    """Return Terraform's parameters of the database that a plain PostgreSQL supports."""
    found = dict(re.findall(r'^ {4}"([\w.]+)" += "([^"]*)"$', text("database.tf"), re.M))
    assert "log_statement" in found
    return {name: value for name, value in found.items() if not ABSENT.match(name)}


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A server with the settings of the database on AWS."""
    folder = Path(tempfile.mkdtemp(prefix="ratesflow-logged-"))
    running = start_postgres(
        folder / "data", free_port(), PASSWORD, folder / "log", version=VERSION, settings=settings()
    )
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


def run(url: str, statement: str) -> None:
    """Run a statement in its own session."""
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)


def test_passwords_of_a_rotation_are_not_logged(server: Postgres) -> None:
    """Passwords are not logged when they are set, when that is slow, or when it fails; the failure itself is logged."""
    url = server.url()
    run(url, "CREATE ROLE somebody WITH LOGIN PASSWORD 'secret-at-once'")
    with pytest.raises(psycopg2.errors.DuplicateObject):
        run(url, "CREATE ROLE somebody WITH LOGIN PASSWORD 'secret-that-failed'")
    slow = threading.Thread(target=run, args=(url, "ALTER USER somebody WITH PASSWORD 'secret-that-waited'"))
    with closing(psycopg2.connect(url)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE pg_authid IN SHARE ROW EXCLUSIVE MODE")
        slow.start()
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        wait_until(lambda: cursor.execute(waits) or cursor.fetchone() == (1,), 10)
        cursor.execute("SELECT pg_sleep(1.2)")  # longer than the limit of slow statements
        other.commit()
    slow.join()
    server.stop()
    logged = server.log.read_text()
    assert "already exists" in logged
    assert "secret" not in logged
