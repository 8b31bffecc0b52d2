"""A PostgreSQL server for the session, a seeded database for each module, and the service on both."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import pytest
import requests
from falcon import testing
from postgres import Server, free_port, new_server
from psycopg2.extensions import connection as Connection  # noqa: N812
from seed import Tree, seed_tree

from api.app import create_app
from api.connections import Connections
from api.queries import session
from api.reader import DatabaseReader
from database.migrate import migrate

ROOT = Path(__file__).parents[2]
READER = "api_one"

# Ports at every depth, a region without ports, and one inside another inside a third.
TREE = Tree(
    ports={
        "CNGGZ": "china_south",
        "CNSGH": "china_east",
        "CNHKG": "china",
        "EETLL": "baltic",
        "FIHEL": "finland",
        "NLRTM": "europe",
    },
    regions={
        "china": None,
        "china_south": "china",
        "china_east": "china",
        "europe": None,
        "baltic": "europe",
        "finland": "baltic",
        "nowhere": None,
    },
)


@dataclass
class Service:
    """``python -m api`` as a process of its own."""

    database_url: str
    port: int = field(default_factory=free_port)
    workers: int = 2
    process: subprocess.Popen[str] | None = None

    def start(self, **environ: str) -> None:
        """Start it and wait until it answers."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "api", "--host", "127.0.0.1", f"--port={self.port}", f"--workers={self.workers}"],
            cwd=ROOT, env=os.environ | {"DATABASE_URL": self.database_url} | environ,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        wait_until(lambda: self.get("/health/live").status_code == 200)

    def get(self, path: str, **options: object) -> requests.Response:
        """Send a request of its own connection."""
        return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=10, **options)  # type: ignore[arg-type]

    def worker_pids(self) -> list[int]:
        """Return the processes that answer requests."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def stop(self) -> str:
        """Send SIGTERM, wait for the end, and return what it logged."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        _, logged = self.process.communicate(timeout=30)
        return logged


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until a condition holds; a refused connection means that it does not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except requests.ConnectionError:
            pass
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def migrated(server: Server) -> None:
    """Build the schema in the server's first database, and the reader that the service logs in as."""
    migrate(server.url())
    connection = psycopg2.connect(server.url())
    with connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE USER {READER} IN ROLE ratesflow_reader")
    connection.close()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = new_server(_reachable(tmp_path_factory.mktemp("postgres")))
    server.start()
    migrated(server)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def database(postgres_server: Server, request: pytest.FixtureRequest) -> str:
    """Make a database of the module's own, with reference data; return its name."""
    name = request.module.__name__
    connection = psycopg2.connect(postgres_server.url(database="template1"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE postgres")
    connection.close()
    connection = psycopg2.connect(postgres_server.url(database=name))
    seed_tree(connection, TREE)
    connection.close()
    return name


@pytest.fixture(scope="module")
def owner(postgres_server: Server, database: str) -> Iterator[Connection]:
    """Give a connection that may do everything."""
    connection = psycopg2.connect(postgres_server.url(database=database))
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def reader_url(postgres_server: Server, database: str) -> str:
    """Return the address with which the service reads, and may do no more."""
    return postgres_server.url(READER, database)


@pytest.fixture(scope="module")
def client(reader_url: str) -> Iterator[testing.TestClient]:
    """Give the service on the module's database, without a server of HTTP."""
    connections = Connections(reader_url, session(5))
    yield testing.TestClient(create_app(DatabaseReader(connections, timeout_seconds=5)))
    connections.close()


@pytest.fixture
def service(reader_url: str) -> Iterator[Service]:
    """Give ``python -m api`` on the module's database."""
    service = Service(reader_url)
    service.start()
    yield service
    if service.process and service.process.poll() is None:
        service.stop()


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give a PostgreSQL server that a test may stop and start."""
    server = new_server(_reachable(tmp_path_factory.mktemp("own")))
    server.start()
    migrated(server)
    yield server
    if server.process is not None:
        server.stop()


def _reachable(directory: Path) -> Path:
    """Let the ordinary user that PostgreSQL runs as pass through pytest's directories."""
    for parent in (directory, *directory.parents[:2]):
        parent.chmod(parent.stat().st_mode | 0o011)
    return directory
