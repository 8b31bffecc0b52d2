"""Simultaneous requests share a statement, and each gets its own rows."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import psycopg2
import pytest
from psycopg2 import errors
from psycopg2.extensions import connection as Connection  # noqa: N812

from ratesflow.api.models.errors import DatabaseUnavailableError, OverloadedError
from ratesflow.api.postgres.pool import ConnectionPool, Row
from ratesflow.api.postgres.query_batcher import MAX_BATCHED, QueryBatcher

# Two rows per request: its text, and the start of its statement. Each row takes the seconds of its request; a BLOCKED
# request runs until the gate opens.
GATE = 6
BLOCKED = ("blocked", "0")
ECHO = f"""
SELECT nth::integer, text, statement_timestamp()::text,
  CASE text WHEN 'blocked' THEN pg_advisory_xact_lock_shared({GATE}) ELSE pg_sleep(seconds) END IS NULL
FROM unnest(string_to_array(%s, ','), string_to_array(%s, ',')::float[]) WITH ORDINALITY AS sent (text, seconds, nth)
CROSS JOIN generate_series(1, 2)
"""


@pytest.fixture
def connections(reader_url: str) -> Iterator[ConnectionPool]:
    """A pool of three connections, with a queue of twenty."""
    connections = ConnectionPool(reader_url, "SELECT 1", size=3, max_queued=20)
    yield connections
    connections.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """A pool of 100 threads."""
    with ThreadPoolExecutor(100) as threads:
        yield threads


@pytest.fixture
def open_gate(owner_url: str) -> Iterator[Callable[[], None]]:
    """Close the gate; the fixture returns the function that opens it."""
    connection = psycopg2.connect(owner_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [GATE])
    yield connection.close
    connection.close()


@pytest.fixture
def long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the limit on waiting, so that all queued requests share a statement."""
    monkeypatch.setattr("ratesflow.api.postgres.query_batcher.MAX_WAIT_SECONDS", 60.0)


def test_single_request_does_not_wait(connections: ConnectionPool) -> None:
    """A request does not wait if no statement runs."""
    batcher = QueryBatcher(connections, ECHO)
    for text in ("one", "two"):
        began = time.monotonic()
        assert [row[1] for row in batcher.fetch((text, "0"), seconds=2)] == [text, text]
        assert time.monotonic() - began < 1
    assert _is_idle(batcher, connections)


@pytest.mark.usefixtures("long_wait")
def test_queued_requests_share_a_statement(
    connections: ConnectionPool, threads: ThreadPoolExecutor, open_gate: Callable[[], None]
) -> None:
    """Requests that arrive while a statement runs share the next one, and each gets its own rows."""
    batcher = QueryBatcher(connections, ECHO)
    first = threads.submit(batcher.fetch, BLOCKED, seconds=5)
    _until(lambda: batcher._in_flight == 1)
    others = _in_order(threads, batcher, [(f"other {number}", 1) for number in range(15)])
    open_gate()
    found = [other.result() for other in others]
    assert [[row[1] for row in rows] for rows in found] == [[f"other {number}"] * 2 for number in range(15)]
    assert len({row[2] for rows in found for row in rows}) == 1
    assert first.result()[0][1] == "blocked"
    assert connections.most_at_once() == (1, 0)
    assert _is_idle(batcher, connections)


@pytest.mark.usefixtures("long_wait")
def test_next_statement_starts_at_once(connections: ConnectionPool, threads: ThreadPoolExecutor) -> None:
    """The next statement starts as soon as the previous one ends, before any request has waited too long."""
    batcher = QueryBatcher(connections, ECHO)
    began = time.monotonic()
    futures = [threads.submit(batcher.fetch, (f"{number}", "0.001"), seconds=9) for number in range(20)]
    assert [each.result()[0][1] for each in futures] == [f"{number}" for number in range(20)]
    assert time.monotonic() - began < 5
    assert connections.most_at_once() == (1, 0)


def test_slow_statement_delays_no_other(
    connections: ConnectionPool,
    threads: ThreadPoolExecutor,
    open_gate: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While a statement is slow, other requests use other connections."""
    # Long enough for all quick requests to arrive.
    monkeypatch.setattr("ratesflow.api.postgres.query_batcher.MAX_WAIT_SECONDS", 0.2)
    batcher = QueryBatcher(connections, ECHO)
    slow = threads.submit(batcher.fetch, BLOCKED, seconds=5)
    _until(lambda: batcher._in_flight == 1)
    began = time.monotonic()
    quick = [threads.submit(batcher.fetch, (f"{number}", "0"), seconds=5) for number in range(10)]
    assert [each.result()[0][1] for each in quick] == [f"{number}" for number in range(10)]
    assert time.monotonic() - began < 0.45
    assert not slow.done()
    assert connections.most_at_once() == (2, 0)
    open_gate()
    assert slow.result()[1][1] == "blocked"
    assert _is_idle(batcher, connections)


@pytest.mark.usefixtures("long_wait")
def test_only_invalid_requests_fail(
    connections: ConnectionPool, threads: ThreadPoolExecutor, open_gate: Callable[[], None]
) -> None:
    """If a shared statement fails, each request is repeated alone, and only invalid ones fail."""
    batcher = QueryBatcher(connections, ECHO)
    first = threads.submit(batcher.fetch, BLOCKED, seconds=5)
    _until(lambda: batcher._in_flight == 1)
    lasts = ["0", "no number", "0", "0", "no number"]
    others = [threads.submit(batcher.fetch, (f"{number}", each), seconds=5) for number, each in enumerate(lasts)]
    _until(lambda: len(batcher._queued) == len(lasts))
    open_gate()
    for number, other in enumerate(others):
        if lasts[number] == "0":
            assert other.result()[0][1] == f"{number}"
        else:
            with pytest.raises(errors.InvalidTextRepresentation):
                other.result()
    assert first.result()
    assert batcher.fetch(("next", "0"), seconds=2)[0][1] == "next"
    assert _is_idle(batcher, connections)


def test_hanging_database(connections: ConnectionPool, threads: ThreadPoolExecutor) -> None:
    """No request waits beyond its deadline; afterwards the batcher works as before."""
    batcher = QueryBatcher(connections, ECHO)
    began = time.monotonic()
    futures = [threads.submit(batcher.fetch, (f"{number}", "5"), seconds=0.5) for number in range(12)]
    for each in futures:
        with pytest.raises(DatabaseUnavailableError):
            each.result()
    assert 0.4 < time.monotonic() - began < 1.5
    _until(lambda: _is_idle(batcher, connections))
    assert batcher.fetch(("after", "0"), seconds=2)[0][1] == "after"


def test_full_queue_is_an_error_at_once(
    connections: ConnectionPool, threads: ThreadPoolExecutor, open_gate: Callable[[], None]
) -> None:
    """A request gets an error at once if all connections are busy and the queue is full; the others still wait."""
    batcher = QueryBatcher(connections, ECHO)
    futures = [threads.submit(batcher.fetch, BLOCKED, seconds=5) for _ in range(23)]
    _until(lambda: connections._present == 23)
    began = time.monotonic()
    with pytest.raises(OverloadedError, match="too many"):
        batcher.fetch(("one more", "0"), seconds=5)
    assert time.monotonic() - began < 0.2
    assert not any(each.done() for each in futures)
    open_gate()
    assert [each.result()[0][1] for each in futures] == ["blocked"] * 23


def test_terminated_backends_are_replaced(
    connections: ConnectionPool, threads: ThreadPoolExecutor, owner: Connection, open_gate: Callable[[], None]
) -> None:
    """Backends that are terminated during a statement are replaced within the same requests."""
    batcher = QueryBatcher(connections, ECHO)
    futures = [threads.submit(batcher.fetch, BLOCKED, seconds=10) for _ in range(20)]
    _until(lambda: connections._present == 20)
    _until(lambda: _end_backends(owner) > 0)
    open_gate()
    assert [each.result()[0][1] for each in futures] == ["blocked"] * 20
    assert _is_idle(batcher, connections)


@pytest.mark.usefixtures("long_wait")
def test_batches_are_limited(threads: ThreadPoolExecutor, open_gate: Callable[[], None], reader_url: str) -> None:
    """A statement serves at most MAX_BATCHED requests; the rest share the next one."""
    assert _sizes(reader_url, threads, open_gate, [1] * MAX_BATCHED * 2) == [MAX_BATCHED, MAX_BATCHED]


@pytest.mark.usefixtures("long_wait")
def test_heavy_requests_run_alone(threads: ThreadPoolExecutor, open_gate: Callable[[], None], reader_url: str) -> None:
    """The weight of a statement is limited; a request that weighs more runs alone."""
    half, heavy = MAX_BATCHED // 2, MAX_BATCHED * 4
    weights = [half, half, half, heavy, half, half, heavy, heavy, half, 1]
    together = [MAX_BATCHED, half, heavy, MAX_BATCHED, heavy, heavy, half + 1]
    assert _sizes(reader_url, threads, open_gate, weights) == together


def test_mixed_requests(connections: ConnectionPool, threads: ThreadPoolExecutor) -> None:
    """Fast, slow, invalid and urgent requests at the same time: each ends in time, with its own result."""
    batcher = QueryBatcher(connections, ECHO)
    rng = random.Random(6)
    ended: list[str] = []

    def send(number: int) -> None:
        seconds = rng.choice([0.005, 0.03, 0.2, 2])
        lasts = rng.choice(["0", "0", "0", "0", "0.004", "0.05", "wrong"])
        began = time.monotonic()
        try:
            rows = batcher.fetch((f"{number}", lasts), seconds=seconds)
            assert [row[1] for row in rows] == [f"{number}"] * 2
            ended.append("succeeded")
        except (DatabaseUnavailableError, errors.InvalidTextRepresentation, errors.QueryCanceled) as error:
            ended.append(type(error).__name__)
        assert time.monotonic() - began < seconds + 1

    limit = threading.Semaphore(20)

    def send_limited(number: int) -> None:
        with limit:
            send(number)

    results = [threads.submit(send_limited, number) for number in range(600)]
    for result in results:
        result.result(timeout=60)
    assert len(ended) == 600
    assert ended.count("succeeded") > 100, ended
    assert set(ended) > {"succeeded", "DatabaseUnavailableError"}
    assert _is_idle(batcher, connections)
    assert batcher.fetch(("after", "0"), seconds=2)[0][1] == "after"


def _sizes(
    reader_url: str, threads: ThreadPoolExecutor, open_gate: Callable[[], None], weights: list[int]
) -> list[int]:
    """Queue requests with `weights`; return the weight of each statement that runs them, in order."""
    connections = ConnectionPool(reader_url, "SELECT 1", size=1, max_queued=99)
    batcher = QueryBatcher(connections, ECHO)
    first = threads.submit(batcher.fetch, BLOCKED, seconds=9)
    _until(lambda: batcher._in_flight == 1)
    others = _in_order(threads, batcher, [(f"{number}", weight) for number, weight in enumerate(weights)])
    open_gate()
    sizes: dict[str, int] = {}
    for weight, other in zip(weights, others, strict=True):
        moment = other.result()[0][2]
        sizes[moment] = sizes.get(moment, 0) + weight
    assert first.result()
    connections.close()
    return [sizes[moment] for moment in sorted(sizes)]


def _in_order(
    threads: ThreadPoolExecutor, batcher: QueryBatcher, requests: list[tuple[str, int]]
) -> list[Future[list[Row]]]:
    """Submit requests with their weights while a statement is blocked; return once all are queued, in this order."""
    futures = []
    for text, weight in requests:
        futures.append(threads.submit(batcher.fetch, (text, "0"), seconds=9, weight=weight))
        _until(lambda: len(batcher._queued) == len(futures))
    return futures


def _end_backends(owner: Connection) -> int:
    """Terminate the backends that execute ECHO; return their number."""
    with owner, owner.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 1000)) FROM pg_stat_activity"
            " WHERE application_name = 'ratesflow-api' AND query LIKE '%statement_timestamp()%'"
            " AND pid <> pg_backend_pid()"
        )
        ((ended,),) = cursor.fetchall()
    return int(ended)


def _is_idle(batcher: QueryBatcher, connections: ConnectionPool) -> bool:
    return not (batcher._in_flight or batcher._queued or connections._present or connections._statements)


def _until(condition: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
