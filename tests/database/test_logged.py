"""What the database's settings on AWS let into its log: errors, and no password that rotation sets."""

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

# Libraries that are not in the wheel, and RDS's own.
ABSENT = re.compile(r"shared_preload_libraries|auto_explain\.|pgaudit\.|rds\.")


def settings() -> dict[str, str]:
    """Return the parameters that Terraform gives the database, as far as a plain PostgreSQL knows them."""
    found = dict(re.findall(r'^ {4}"([\w.]+)" += "([^"]*)"$', text("database.tf"), re.M))
    assert "log_statement" in found
    return {name: value for name, value in found.items() if not ABSENT.match(name)}


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A server with the settings of the one on AWS."""
    folder = Path(tempfile.mkdtemp(prefix="ratesflow-logged-"))
    running = start_postgres(
        folder / "data", free_port(), PASSWORD, folder / "log", version=VERSION, settings=settings()
    )
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


def run(url: str, statement: str) -> None:
    """Run a statement in a session of its own."""
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)


def test_no_password_of_a_rotation_is_logged(server: Postgres) -> None:
    """Not when it is set, not when that takes long, not when it fails; what failed is told all the same."""
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
        cursor.execute("SELECT pg_sleep(1.2)")  # longer than what is called slow
        other.commit()
    slow.join()
    server.stop()
    logged = server.log.read_text()
    assert "already exists" in logged
    assert "secret" not in logged
