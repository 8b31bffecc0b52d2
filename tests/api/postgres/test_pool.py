"""The connection pool: reuse, replacement, timeouts and limits."""

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from falcon import testing
from psycopg2 import errors
from psycopg2.extensions import connection as Connection  # noqa: N812

from ratesflow.api.models.errors import DatabaseUnavailableError, OverloadedError
from ratesflow.api.models.versions import LatestVersion
from ratesflow.api.postgres.pool import ConnectionPool
from ratesflow.api.postgres.reader import DatabaseReader
from ratesflow.api.server.wsgi import get_app
from tests.api.service import wait_until

BACKEND = "SELECT pg_backend_pid()"


def test_connection_is_reused(reader_url: str) -> None:
    """A connection is reused, even after an invalid statement."""
    connections = ConnectionPool(reader_url, "SELECT 1")
    (pid,) = connections.fetch(BACKEND, seconds=2)
    with pytest.raises(errors.DivisionByZero):
        connections.fetch("SELECT 1 / 0", seconds=2)
    assert connections.fetch(BACKEND, seconds=2) == [pid]
    connections.close()


def test_old_connection_is_replaced(reader_url: str) -> None:
    """A connection that has reached its maximum age is replaced."""
    connections = ConnectionPool(reader_url, "SELECT 1", recycle_seconds=0)
    assert connections.fetch(BACKEND, seconds=2) != connections.fetch(BACKEND, seconds=2)
    connections.close()


def test_terminated_is_replaced(reader_url: str, owner: Connection) -> None:
    """After the server has terminated all connections, the next statement runs on a new one."""
    connections = ConnectionPool(reader_url, "SELECT 1", size=3)
    with ThreadPoolExecutor(3) as threads:
        pids = list(threads.map(lambda _: connections.fetch(BACKEND + ", pg_sleep(0.1)", seconds=5)[0][0], range(3)))
    assert len(set(pids)) == 3
    with owner, owner.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid, 1000) FROM unnest(%s) AS ours (pid)", (pids,))
    assert connections.fetch(BACKEND, seconds=2)[0][0] not in pids
    connections.close()


def test_lost_statements_are_prepared_again(reader_url: str) -> None:
    """A connection that has lost its prepared statements is replaced."""
    connections = ConnectionPool(reader_url, "PREPARE one AS SELECT 1")
    assert connections.fetch("EXECUTE one", seconds=2) == [(1,)]
    connections.fetch("DISCARD ALL", seconds=2)
    assert connections.fetch("EXECUTE one", seconds=2) == [(1,)]
    connections.close()


@pytest.mark.parametrize(("conflicts", "succeeds"), [(1, True), (2, False)])
def test_conflict_is_repeated_once(reader_url: str, conflicts: int, succeeds: bool) -> None:
    """A read that a standby cancels is repeated once; after a second time the database counts as unavailable."""
    connections = ConnectionPool(reader_url, "CREATE TEMPORARY SEQUENCE attempts")
    statement = f"""DO $$ BEGIN IF nextval('attempts') <= {conflicts} THEN
        RAISE EXCEPTION 'conflict with recovery' USING ERRCODE = '40001'; END IF; END $$"""
    if succeeds:
        connections.fetch(statement, seconds=2)
    else:
        with pytest.raises(DatabaseUnavailableError, match="conflict with recovery"):
            connections.fetch(statement, seconds=2)
    assert connections.fetch("SELECT last_value FROM attempts", seconds=2) == [(2,)]
    connections.close()


def test_hanging_server_times_out(reader_url: str) -> None:
    """A statement that takes too long ends at the deadline, and its connection is closed."""
    connections = ConnectionPool(reader_url, "SELECT 1", size=1)
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailableError):
        connections.fetch("SELECT pg_sleep(5)", seconds=0.3)
    assert time.monotonic() - started < 1
    assert connections.fetch("SELECT 1", seconds=2) == [(1,)]
    connections.close()


def test_unreachable_host_times_out() -> None:
    """A connection to a server that accepts it and sends nothing ends at the deadline."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        connections = ConnectionPool(f"postgresql://x@127.0.0.1:{silent.getsockname()[1]}/x", "SELECT 1")
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailableError):
            connections.fetch("SELECT 1", seconds=0.3)
        assert time.monotonic() - started < 1


def test_full_queue_is_an_error_at_once(reader_url: str, owner: Connection) -> None:
    """A request gets an error at once if all connections are busy and the queue is full."""
    connections = ConnectionPool(reader_url, "SELECT 1", size=1, max_queued=1)
    with ThreadPoolExecutor(2) as threads:
        busy = [threads.submit(connections.fetch, "SELECT true FROM pg_sleep(0.5)", seconds=5) for _ in range(2)]
        wait_until(lambda: connections._present == 2)
        started = time.monotonic()
        with pytest.raises(OverloadedError):
            connections.fetch("SELECT 1", seconds=5)
        assert time.monotonic() - started < 0.1
        assert not any(each.done() for each in busy)
        assert [each.result() for each in busy] == [[(True,)], [(True,)]]
    assert connections.fetch("SELECT 1", seconds=2) == [(1,)]
    connections.close()


def test_idle_connection_has_no_transaction(reader_url: str, owner_url: str) -> None:
    """An idle connection is not in a transaction."""
    connections = ConnectionPool(reader_url, "SET application_name = 'watched'")
    connections.fetch("SELECT 1", seconds=2)
    watcher = psycopg2.connect(owner_url)
    with watcher.cursor() as cursor:
        cursor.execute("SELECT state FROM pg_stat_activity WHERE application_name = 'watched'")
        assert cursor.fetchall() == [("idle",)]
    watcher.close()
    connections.close()


def test_close_idle_closes_all_connections(reader_url: str, owner_url: str) -> None:
    """After `close_idle` the service has no session, and the next statement opens one."""
    connections = ConnectionPool(reader_url, "SET application_name = 'idle'")
    connections.fetch("SELECT 1", seconds=2)
    DatabaseReader(connections, LatestVersion()).close_idle()
    watcher = psycopg2.connect(owner_url)
    with watcher.cursor() as cursor:
        deadline = time.monotonic() + 5
        sessions = 1
        while sessions and time.monotonic() < deadline:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'idle'")
            ((sessions,),) = cursor.fetchall()
            watcher.rollback()
    assert sessions == 0
    watcher.close()
    assert connections.fetch("SELECT 1", seconds=2) == [(1,)]
    connections.close()


@pytest.mark.parametrize("cache_mb", ["64", "0"], ids=["cached", "uncached"])
def test_idle_service_has_no_session(reader_url: str, owner_url: str, cache_mb: str) -> None:
    """Some time after the last request no connection is open, so that the database may pause; the next one works."""
    settings = {"RATESFLOW_API_IDLE_SECONDS": "0.4", "RATESFLOW_API_POLL_SECONDS": "0.1"}
    app = get_app({"DATABASE_URL": reader_url, "RATESFLOW_API_CACHE_MB": cache_mb, **settings})

    def get(day: int) -> int:
        query = f"date_from=2021-01-01&date_to=2021-01-{day:02}&orig_code=CNGGZ&dest_code=EETLL"
        return testing.TestClient(app).simulate_get("/rates", query_string=query).status_code

    watcher = psycopg2.connect(owner_url)
    watcher.autocommit = True

    def sessions() -> int:
        with watcher.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE application_name = 'ratesflow-api' AND datname = current_database()"
            )
            ((found,),) = cursor.fetchall()
        return int(found)

    for _ in range(2):
        with ThreadPoolExecutor(4) as threads:
            assert set(threads.map(get, range(1, 29))) == {200}
        assert sessions()
        wait_until(lambda: sessions() == 0)
    watcher.close()


def test_used_connection_stays_open(reader_url: str) -> None:
    """Connections that are not needed are closed; the one in use stays open."""
    connections = ConnectionPool(reader_url, "SELECT 1", size=2, idle_seconds=0.4)
    with ThreadPoolExecutor(2) as threads:
        both = set(threads.map(lambda _: connections.fetch(BACKEND + ", pg_sleep(0.1)", seconds=5)[0][0], range(2)))
    until, used = time.monotonic() + 1.5, set()
    while time.monotonic() < until:
        used.add(connections.fetch(BACKEND, seconds=2)[0][0])
        time.sleep(0.02)
    assert len(both) == 2
    assert len(used) == 1
    assert used < both
    assert len(connections._idle) + len(connections._resting) == 1
    connections.close()


def test_lagging_server_times_out(reader_url: str) -> None:
    """Connections to a lagging server are reopened until the timeout."""
    connections = ConnectionPool(reader_url, "SELECT 1")
    seen: list[object] = []
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailableError):
        connections.fetch(BACKEND, seconds=0.5, accepts=lambda rows: bool(seen.append(rows)))
    assert time.monotonic() - started < 0.8
    assert 1 < len({str(each) for each in seen}) < 20
    connections.close()


def test_spare_connection_is_tried_next(reader_url: str) -> None:
    """When a server is behind, the connection on which the latest version was seen is tried next."""
    spare = ConnectionPool(reader_url, "SELECT 1", size=1)
    ((backend,),) = spare.fetch(BACKEND, seconds=2)
    connections = ConnectionPool(reader_url, "SELECT 1", spare=spare)
    assert connections.fetch(BACKEND, seconds=2) != [(backend,)]
    assert connections.fetch(BACKEND, seconds=2, accepts=lambda rows: rows == [(backend,)]) == [(backend,)]
    assert connections.fetch(BACKEND, seconds=2) == [(backend,)]
    connections.close()
    spare.close()
