"""A seeded database for each module, on the shared server, and the service on it."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
from falcon import testing
from psycopg2.extensions import connection as Connection  # noqa: N812

from ratesflow.database.migrate import migrate
from ratesflow.local.postgres.server import VERSION, Postgres, start_postgres
from ratesflow.local.processes import free_port
from tests.api.seed import TREE, seed_tree
from tests.api.service import Service, connections_to, database_reader, uncached
from tests.fix_database import PASSWORD, Database, drop_database, run_alone


@pytest.fixture(scope="module")
def module_database(servers: Callable[[int], Postgres], request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database of the module's own, with the ports and regions of TREE."""
    server = servers(VERSION)
    name = request.module.__name__.rpartition(".")[2]
    run_alone(server.url(), f"CREATE DATABASE {name} TEMPLATE template")
    database = Database(server, name)
    connection = database.connect()
    seed_tree(connection, TREE)
    connection.close()
    yield database
    drop_database(server, name)


@pytest.fixture(scope="module")
def owner_url(module_database: Database) -> str:
    """The address with which everything may be done."""
    return module_database.url


@pytest.fixture(scope="module")
def reader_url(module_database: Database) -> str:
    """The address with which the service reads, and may do no more."""
    return module_database.reader_url


@pytest.fixture(scope="module")
def owner(owner_url: str) -> Iterator[Connection]:
    """A connection that may do everything."""
    connection = psycopg2.connect(owner_url)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def client(reader_url: str) -> Iterator[testing.TestClient]:
    """The service on the module's database, without an HTTP server and without a cache."""
    connections = connections_to(reader_url)
    yield testing.TestClient(uncached(database_reader(connections)))
    connections.close()


@pytest.fixture
def service(reader_url: str) -> Iterator[Service]:
    """``python -m ratesflow.api`` on the module's database."""
    service = Service(reader_url)
    service.start()
    yield service
    if service.process and service.process.poll() is None:
        service.stop()


@pytest.fixture
def own_server() -> Iterator[Postgres]:
    """A PostgreSQL server that a test may stop and start, with the schema and the ports and regions of TREE."""
    folder = Path(tempfile.mkdtemp(prefix="ratesflow-tests-"))
    server = start_postgres(folder / "pg", free_port(), PASSWORD, folder / "log", settings={"fsync": "off"})
    migrate(server.url())
    run_alone(server.url(), f"CREATE ROLE api LOGIN PASSWORD '{PASSWORD}' IN ROLE ratesflow_reader")
    connection = psycopg2.connect(server.url())
    seed_tree(connection, TREE)
    connection.close()
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)
