"""PostgreSQL 16 and 18 as processes, and a fresh database for each test.

All is done as the master of RDS does it, and as its logins; tests.ci.test_superuser lists who does otherwise, and why.
"""

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from ratesflow.database import reference, reference_change
from ratesflow.database.migrate import migrate
from ratesflow.local.postgres.server import VERSION, Postgres, start_postgres
from ratesflow.local.processes import free_port
from tests.sessions import Sessions

PASSWORD = "only-for-tests"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[int], Postgres]]:
    """Servers by version, started when first asked for; each has a migrated database to copy."""
    folder = Path(tempfile.mkdtemp(prefix="ratesflow-tests-"))
    running: dict[int, Postgres] = {}

    def server(wanted: int) -> Postgres:
        if wanted not in running:
            running[wanted] = _start(folder, wanted)
        return running[wanted]

    yield server
    for postgres in running.values():
        postgres.stop()
    shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, wanted: int) -> Postgres:
    # One iteration, since these passwords protect nothing: each login took 2 ms of processor time more.
    settings = {
        "scram_iterations": "1",
        "fsync": "off",
        "max_connections": "100",
        "full_page_writes": "off",
        "max_wal_size": "2GB",
    }
    server = start_postgres(
        folder / f"pg{wanted}", free_port(), PASSWORD, folder / f"pg{wanted}.log", version=wanted, settings=settings
    )
    run_alone(server.url(), "CREATE DATABASE template")
    migrate(server.url(database="template"))
    connection = psycopg2.connect(server.url(database="template"))
    reference_change.load(connection, reference.builtin())
    connection.close()
    for user, role in {"loader": "ratesflow_loader", "api": "ratesflow_reader"}.items():
        run_alone(server.url(), f"CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'; GRANT {role} TO {user}")
    return server


def run_alone(url: str, statement: str) -> None:
    """Run a statement outside any transaction, such as CREATE DATABASE."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


def drop_database(server: Postgres, name: str) -> None:
    """Drop a database, with the sessions that are left in it."""
    run_alone(server.superuser_url(), f"DROP DATABASE {name} WITH (FORCE)")


class Database:
    """A database of one test: its addresses for each user, and a way to ask it something as the master."""

    def __init__(self, server: Postgres, name: str) -> None:
        self.server, self.name = server, name
        self.url = server.url(database=name)
        self.loader_url = server.url("loader", PASSWORD, name)
        self.reader_url = server.url("api", PASSWORD, name)
        self._sessions = Sessions()

    def connect(self, url: str | None = None) -> Any:
        """Open a connection; the caller closes it."""
        return psycopg2.connect(url or self.url)

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement in a transaction of its own; return its rows."""
        return self._sessions.query(self.url, statement, values)

    def one(self, query: str, *values: Any) -> Any:
        """Return the one value that a query gives."""
        ((value,),) = self.query(query, *values)
        return value

    def snapshot(self) -> list[tuple[Any, ...]]:
        """Return everything that a reader could see, and every table: equal when nothing is left behind."""
        tables = (
            "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
        )
        return [
            *self.query(f"{tables} ORDER BY 1"),
            *self.query("SELECT * FROM rates ORDER BY batch_no, orig_code, dest_code, month"),
            *self.query("SELECT * FROM visible_batches ORDER BY 1"),
            *self.query("SELECT * FROM prices ORDER BY 1, 2, 3, 4, 5"),
            *self.query("SELECT version FROM data_version"),
        ]


@pytest.fixture(params=[pytest.param(16, id="pg16"), pytest.param(18, id="pg18")])
def database(request: pytest.FixtureRequest, servers: Callable[[int], Postgres]) -> Iterator[Database]:
    """A fresh database with the schema and the built-in ports and regions, on PostgreSQL 16 and on 18."""
    yield from _fresh(servers(request.param))


@pytest.fixture
def database18(servers: Callable[[int], Postgres]) -> Iterator[Database]:
    """The same on the newest PostgreSQL alone, for tests whose subject is not the database."""
    yield from _fresh(servers(VERSION))


def _fresh(server: Postgres) -> Iterator[Database]:
    name = f"test_{next(_numbers)}"
    run_alone(server.url(), f"CREATE DATABASE {name} TEMPLATE template STRATEGY FILE_COPY")
    yield Database(server, name)
    drop_database(server, name)
