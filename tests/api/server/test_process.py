"""The service as a process: it stays up, recovers, and stops in order."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from ratesflow.local.postgres.server import Postgres
from ratesflow.local.processes import free_port
from tests.api.seed import TREE, Price, open_batch, seed_batch
from tests.api.service import ROOT, Service, wait_until
from tests.fix_database import PASSWORD

PATH = "/rates?date_from=2021-01-01&date_to=2021-01-01&orig_code=CNGGZ&dest_code=EETLL"
RATES = {"rates": [{"count": 3, "day": "2021-01-01", "price": 200.33333333333334}]}


def seed(owner: Connection) -> None:
    """Commit a batch with one rate."""
    rows = [Price("CNGGZ", "EETLL", date(2021, 1, 1), price) for price in (100, 200, 301)]
    open_batch(owner, seed_batch(owner, TREE, rows))


@pytest.fixture(scope="module", autouse=True)
def rate(owner: Connection) -> None:
    seed(owner)


@pytest.fixture
def locked(owner: Connection, owner_url: str) -> Iterator[Connection]:
    """A transaction that blocks every reader of rates until it is rolled back."""
    connection = psycopg2.connect(owner_url)
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE rates")
    yield connection
    connection.close()


def test_http_responses(service: Service) -> None:
    """Over HTTP the service serves rates, its health, errors, and HEAD."""
    response = service.get(PATH)
    assert (response.status_code, response.json()) == (200, RATES)
    assert response.headers["Content-Type"] == "application/json"
    assert service.get(PATH, headers={"If-None-Match": response.headers["ETag"]}).status_code == 304
    assert service.get("/health/ready").status_code == 200
    assert service.get("/rates").headers["Content-Type"] == "application/problem+json"
    with socket.create_connection(("127.0.0.1", service.port)) as plain:
        plain.sendall(f"HEAD {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head = b"".join(iter(lambda: plain.recv(4096), b""))
    assert head.startswith(b"HTTP/1.1 200")
    assert head.endswith(b"\r\n\r\n")


def test_terminated_connections(reader_url: str, owner: Connection) -> None:
    """No request fails when all database connections are terminated at once."""
    service = Service(reader_url)
    service.start(RATESFLOW_API_CACHE_MB="0")
    with ThreadPoolExecutor(8) as threads:
        for _ in range(3):
            responses = list(threads.map(lambda _: service.get(PATH), range(24)))
            assert {response.status_code for response in responses} == {200}
            with owner, owner.cursor() as cursor:
                cursor.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE application_name = 'ratesflow-api'"
                )
                assert (cursor.fetchone() or (0,))[0] > 0
    service.stop()


def test_service_recovers_after_a_database_outage(own_server: Postgres) -> None:
    """While the database is down, cached responses are served for a time, and all others are 503 with Retry-After
    within 2 s; the service recovers by itself."""
    owner = psycopg2.connect(own_server.url())
    seed(owner)
    owner.close()
    service = Service(own_server.url("api", PASSWORD), workers=1)
    service.start(RATESFLOW_API_MAX_STALE_SECONDS="3", RATESFLOW_API_POLL_SECONDS="0.2")
    try:
        assert service.get(PATH).json() == RATES
        assert service.get("/health/started").status_code == 200
        own_server.stop()
        for path in (f"{PATH}&another", "/health/ready"):
            started = time.monotonic()
            response = service.get(path)
            assert time.monotonic() - started < 2
            assert response.status_code == 503
            assert "Retry-After" in response.headers
        assert service.get(PATH).json() == RATES
        wait_until(lambda: service.get(PATH).status_code == 503)
        assert service.get("/health/live").status_code == 200
        assert service.get("/health/started").status_code == 200
        own_server.restart()
        assert service.get(PATH).json() == RATES
        assert service.get("/health/ready").status_code == 200
    finally:
        service.stop()


def test_service_that_cannot_log_in_never_starts(reader_url: str) -> None:
    """A service that cannot log in is live and never reports that it has started, so its deployment is rolled back."""
    service = Service(re.sub("//[^@/]+@", "//nobody:wrong@", reader_url), workers=1)
    service.start()
    try:
        checks = ("live", "started", "started")
        assert [service.get(f"/health/{check}").status_code for check in checks] == [200, 503, 503]
    finally:
        service.stop()


def test_hanging_database(own_server: Postgres) -> None:
    """A database that accepts connections but does not respond leads to a 503 within 2 s, too."""
    service = Service(own_server.url("api", PASSWORD))
    service.start()
    assert own_server.process is not None
    pids = [own_server.process.pid]
    try:
        assert service.get("/health/ready").status_code == 200
        with psycopg2.connect(own_server.url()) as watcher, watcher.cursor() as cursor:
            cursor.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'ratesflow-api'")
            pids += [pid for (pid,) in cursor]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        for path in (PATH, "/health/ready", f"{PATH}&another"):
            started = time.monotonic()
            assert service.get(path).status_code == 503
            assert time.monotonic() - started < 2
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        service.stop()


def test_sigterm_finishes_requests(service: Service, locked: Connection) -> None:
    """After SIGTERM a running request gets its response, no new one is accepted, and no process is left."""
    workers = service.worker_pids()
    with ThreadPoolExecutor(1) as threads:
        under_way = threads.submit(service.get, PATH)
        time.sleep(0.4)
        assert service.process is not None
        service.process.terminate()
        wait_until(lambda: not _listens(service.port))
        assert not under_way.done()
        locked.rollback()
        assert under_way.result().json() == RATES
    assert service.process.wait(5) == 0
    assert not [pid for pid in workers if _alive(pid)]


def test_killed_worker_is_replaced(service: Service) -> None:
    """A killed worker is replaced, and the service continues."""
    before = service.worker_pids()
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: len(set(service.worker_pids()) - {before[0]}) == 2)
    assert service.get(PATH).status_code == 200
    assert service.process is not None
    assert service.process.poll() is None


def test_killed_main_process(service: Service) -> None:
    """When the main process is killed, its workers end by themselves."""
    workers = service.worker_pids()
    assert service.process is not None
    service.process.kill()
    service.process.wait()
    wait_until(lambda: not any(_alive(pid) for pid in workers))


def test_idle_and_slow_clients(service: Service) -> None:
    """A thousand idle connections, a slow client and a huge header do not block other clients."""
    clients = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(1000)]
    try:
        clients[0].sendall(b"GET /rates HTTP/1.1\r\nHost:")
        started = time.monotonic()
        assert service.get(PATH).status_code == 200
        assert time.monotonic() - started < 1
        response = service.get("/health/live", headers={"X-Big": "x" * 500_000})
        assert response.status_code == 431
        assert service.get("/rates?" + "a" * 50_000).status_code == 400
    finally:
        for client in clients:
            client.close()


def test_overload(reader_url: str, locked: Connection) -> None:
    """Requests beyond the limit of queued ones get a 503 at once, and health checks still respond."""
    service = Service(reader_url, workers=1)
    service.start(RATESFLOW_API_POOL_SIZE="2", RATESFLOW_API_MAX_QUEUED="2")
    try:
        with ThreadPoolExecutor(4) as threads:
            waiting = [threads.submit(service.get, f"{PATH}&{number}") for number in range(4)]
            time.sleep(0.5)
            started = time.monotonic()
            assert service.get(f"{PATH}&more").status_code == 503
            assert service.get("/health/live").status_code == 200
            assert time.monotonic() - started < 0.5
            assert not any(response.done() for response in waiting)
            locked.rollback()
            assert {response.result().status_code for response in waiting} == {200}
    finally:
        service.stop()


def test_port_in_use(service: Service) -> None:
    """If another process, even another service, listens on its port, the service prints an error and exits with 1."""
    ended = run(["--host=127.0.0.1", f"--port={service.port}"], DATABASE_URL=service.database_url)
    assert ended.returncode == 1
    assert f"127.0.0.1:{service.port}: Address already in use" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"DATABASE_URL": ""}, "no database is configured"),
        ({"DATABASE_URL": "user:secret@host"}, "the database's address is not valid"),
        ({"DATABASE_SECRET": "{}", "DATABASE_URL": ""}, "has no key 'username'"),
        ({"RATESFLOW_API_POOL_SIZE": "many"}, "RATESFLOW_API_POOL_SIZE is 'many'"),
        ({"PORT": "0.5"}, "PORT is '0.5'"),
        ({"PORT": "70000"}, "70000 is not a port"),
    ],
)
def test_wrong_setting(environ: dict[str, str], message: str) -> None:
    """An invalid setting is reported in one line, which contains no password."""
    settings = {"DATABASE_URL": "postgresql://x@127.0.0.1/x", "PORT": str(free_port())} | environ
    ended = run([], **settings)
    assert ended.returncode == 1
    assert message in ended.stderr
    assert "secret@" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_imports_only_what_the_image_contains() -> None:
    """The service imports neither boto3, pandas nor SQLAlchemy, and of our other packages only the database."""
    script = (
        "import sys, ratesflow.api.__main__; loaded = {name.partition('.')[0] for name in sys.modules};"
        "print(loaded & {'boto3', 'pandas', 'stepfunctions', 'starlette', 'sqlalchemy', 'alembic', 'workflow',"
        " 'loader', 'local'})"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


def run(arguments: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the service with settings that make it exit."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "ratesflow.api", *arguments],
        cwd=ROOT, env=os.environ | environ, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
