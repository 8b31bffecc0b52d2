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

# Two rows per request: its text, and the start of its statement. Each row takes the request's seconds; those of a HELD
# request take until the gate opens.
GATE = 6
HELD = ("held", "0")
TELL = f"""
SELECT nth::integer, text, statement_timestamp()::text,
  CASE text WHEN 'held' THEN pg_advisory_xact_lock_shared({GATE}) ELSE pg_sleep(seconds) END IS NULL
FROM unnest(string_to_array(%s, ','), string_to_array(%s, ',')::float[]) WITH ORDINALITY AS asked (text, seconds, nth)
CROSS JOIN generate_series(1, 2)
"""


@pytest.fixture
def connections(reader_url: str) -> Iterator[ConnectionPool]:
    """Yield three connections, with twenty places in the queue."""
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
    """Let no request stop waiting, so that all that gather share a statement."""
    monkeypatch.setattr("ratesflow.api.postgres.query_batcher.MAX_WAIT_SECONDS", 60.0)


def test_alone_goes_at_once(connections: ConnectionPool) -> None:
    """A request that finds no running statement does not wait."""
    trips = QueryBatcher(connections, TELL)
    for text in ("one", "two"):
        began = time.monotonic()
        assert [row[1] for row in trips.fetch((text, "0"), seconds=2)] == [text, text]
        assert time.monotonic() - began < 1
    assert _is_at_rest(trips, connections)


@pytest.mark.usefixtures("long_wait")
def test_come_together_go_together(
    connections: ConnectionPool, threads: ThreadPoolExecutor, open_gate: Callable[[], None]
) -> None:
    """Requests that arrive while a statement runs share the next one, and each gets its own rows."""
    trips = QueryBatcher(connections, TELL)
    first = threads.submit(trips.fetch, HELD, seconds=5)
    _until(lambda: trips._in_flight == 1)
    others = _in_order(threads, trips, [(f"other {number}", 1) for number in range(15)])
    open_gate()
    found = [other.result() for other in others]
    assert [[row[1] for row in rows] for rows in found] == [[f"other {number}"] * 2 for number in range(15)]
    assert len({row[2] for rows in found for row in rows}) == 1
    assert first.result()[0][1] == "held"
    assert connections.most_at_once() == (1, 0)
    assert _is_at_rest(trips, connections)


@pytest.mark.usefixtures("long_wait")
def test_next_goes_as_soon_as_one_is_back(connections: ConnectionPool, threads: ThreadPoolExecutor) -> None:
    """Round trips follow one another without a pause, and before any request has waited too long."""
    trips = QueryBatcher(connections, TELL)
    began = time.monotonic()
    asked = [threads.submit(trips.fetch, (f"{number}", "0.001"), seconds=9) for number in range(20)]
    assert [each.result()[0][1] for each in asked] == [f"{number}" for number in range(20)]
    assert time.monotonic() - began < 5
    assert connections.most_at_once() == (1, 0)


def test_slow_statement_delays_no_other(
    connections: ConnectionPool,
    threads: ThreadPoolExecutor,
    open_gate: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While a statement is slow, other requests use other connections."""
    monkeypatch.setattr(
        "ratesflow.api.postgres.query_batcher.MAX_WAIT_SECONDS", 0.2
    )  # in which all of the quick ones come
    trips = QueryBatcher(connections, TELL)
    slow = threads.submit(trips.fetch, HELD, seconds=5)
    _until(lambda: trips._in_flight == 1)
    began = time.monotonic()
    quick = [threads.submit(trips.fetch, (f"{number}", "0"), seconds=5) for number in range(10)]
    assert [each.result()[0][1] for each in quick] == [f"{number}" for number in range(10)]
    assert time.monotonic() - began < 0.45
    assert not slow.done()
    assert connections.most_at_once() == (2, 0)
    open_gate()
    assert slow.result()[1][1] == "held"
    assert _is_at_rest(trips, connections)


@pytest.mark.usefixtures("long_wait")
def test_wrong_one_fails_alone(
    connections: ConnectionPool, threads: ThreadPoolExecutor, open_gate: Callable[[], None]
) -> None:
    """When a shared statement fails, each request tries alone, and only the invalid ones fail."""
    trips = QueryBatcher(connections, TELL)
    first = threads.submit(trips.fetch, HELD, seconds=5)
    _until(lambda: trips._in_flight == 1)
    lasts = ["0", "no number", "0", "0", "no number"]
    others = [threads.submit(trips.fetch, (f"{number}", each), seconds=5) for number, each in enumerate(lasts)]
    _until(lambda: len(trips._queued) == len(lasts))
    open_gate()
    for number, other in enumerate(others):
        if lasts[number] == "0":
            assert other.result()[0][1] == f"{number}"
        else:
            with pytest.raises(errors.InvalidTextRepresentation):
                other.result()
    assert first.result()
    assert trips.fetch(("next", "0"), seconds=2)[0][1] == "next"
    assert _is_at_rest(trips, connections)


def test_database_that_hangs(connections: ConnectionPool, threads: ThreadPoolExecutor) -> None:
    """No request waits beyond its deadline; afterwards the batcher works as before."""
    trips = QueryBatcher(connections, TELL)
    began = time.monotonic()
    asked = [threads.submit(trips.fetch, (f"{number}", "5"), seconds=0.5) for number in range(12)]
    for each in asked:
        with pytest.raises(DatabaseUnavailableError):
            each.result()
    assert 0.4 < time.monotonic() - began < 1.5
    _until(lambda: _is_at_rest(trips, connections))
    assert trips.fetch(("after", "0"), seconds=2)[0][1] == "after"


def test_too_many_get_an_error_at_once(
    connections: ConnectionPool, threads: ThreadPoolExecutor, open_gate: Callable[[], None]
) -> None:
    """When all connections and places in the queue are in use, the next request gets an error while the others wait."""
    trips = QueryBatcher(connections, TELL)
    asked = [threads.submit(trips.fetch, HELD, seconds=5) for _ in range(23)]
    _until(lambda: connections._present == 23)
    began = time.monotonic()
    with pytest.raises(OverloadedError, match="too many"):
        trips.fetch(("one more", "0"), seconds=5)
    assert time.monotonic() - began < 0.2
    assert not any(each.done() for each in asked)
    open_gate()
    assert [each.result()[0][1] for each in asked] == ["held"] * 23


def test_terminated_backends_are_replaced(
    connections: ConnectionPool, threads: ThreadPoolExecutor, owner: Connection, open_gate: Callable[[], None]
) -> None:
    """Backends that are terminated during a statement are replaced within the same requests."""
    trips = QueryBatcher(connections, TELL)
    asked = [threads.submit(trips.fetch, HELD, seconds=10) for _ in range(20)]
    _until(lambda: connections._present == 20)
    _until(lambda: _end_backends(owner) > 0)
    open_gate()
    assert [each.result()[0][1] for each in asked] == ["held"] * 20
    assert _is_at_rest(trips, connections)


@pytest.mark.usefixtures("long_wait")
def test_more_than_go_together(threads: ThreadPoolExecutor, open_gate: Callable[[], None], reader_url: str) -> None:
    """A statement serves at most MAX_BATCHED requests; the rest share the next one."""
    assert _sizes(reader_url, threads, open_gate, [1] * MAX_BATCHED * 2) == [MAX_BATCHED, MAX_BATCHED]


@pytest.mark.usefixtures("long_wait")
def test_heavy_ones_go_alone(threads: ThreadPoolExecutor, open_gate: Callable[[], None], reader_url: str) -> None:
    """The weight of a statement is limited; a request that weighs more runs alone."""
    half, heavy = MAX_BATCHED // 2, MAX_BATCHED * 4
    weights = [half, half, half, heavy, half, half, heavy, heavy, half, 1]
    together = [MAX_BATCHED, half, heavy, MAX_BATCHED, heavy, heavy, half + 1]
    assert _sizes(reader_url, threads, open_gate, weights) == together


def test_whatever_happens(connections: ConnectionPool, threads: ThreadPoolExecutor) -> None:
    """Fast, slow, invalid and urgent requests at the same time: each ends in time, with its own result."""
    trips = QueryBatcher(connections, TELL)
    dice = random.Random(6)
    ended: list[str] = []

    def ask(number: int) -> None:
        seconds = dice.choice([0.005, 0.03, 0.2, 2])
        lasts = dice.choice(["0", "0", "0", "0", "0.004", "0.05", "wrong"])
        began = time.monotonic()
        try:
            rows = trips.fetch((f"{number}", lasts), seconds=seconds)
            assert [row[1] for row in rows] == [f"{number}"] * 2
            ended.append("answered")
        except (DatabaseUnavailableError, errors.InvalidTextRepresentation, errors.QueryCanceled) as error:
            ended.append(type(error).__name__)
        assert time.monotonic() - began < seconds + 1

    crowd = threading.Semaphore(20)

    def in_turn(number: int) -> None:
        with crowd:
            ask(number)

    results = [threads.submit(in_turn, number) for number in range(600)]
    for result in results:
        result.result(timeout=60)
    assert len(ended) == 600
    assert ended.count("answered") > 100, ended
    assert set(ended) > {"answered", "DatabaseUnavailableError"}
    assert _is_at_rest(trips, connections)
    assert trips.fetch(("after", "0"), seconds=2)[0][1] == "after"


def _sizes(
    reader_url: str, threads: ThreadPoolExecutor, open_gate: Callable[[], None], weights: list[int]
) -> list[int]:
    """Return the weight of each statement, in their order, that goes for requests of `weights` that gathered."""
    connections = ConnectionPool(reader_url, "SELECT 1", size=1, max_queued=99)
    trips = QueryBatcher(connections, TELL)
    first = threads.submit(trips.fetch, HELD, seconds=9)
    _until(lambda: trips._in_flight == 1)
    others = _in_order(threads, trips, [(f"{number}", weight) for number, weight in enumerate(weights)])
    open_gate()
    sizes: dict[str, int] = {}
    for weight, other in zip(weights, others, strict=True):
        moment = other.result()[0][2]
        sizes[moment] = sizes.get(moment, 0) + weight
    assert first.result()
    connections.close()
    return [sizes[moment] for moment in sorted(sizes)]


def _in_order(
    threads: ThreadPoolExecutor, trips: QueryBatcher, asked: list[tuple[str, int]]
) -> list[Future[list[Row]]]:
    """Submit requests of some weight each while a statement is held; return once all wait in this order."""
    futures = []
    for text, weight in asked:
        futures.append(threads.submit(trips.fetch, (text, "0"), seconds=9, weight=weight))
        _until(lambda: len(trips._queued) == len(futures))
    return futures


def _end_backends(owner: Connection) -> int:
    """Terminate the backends that execute TELL; return their number."""
    with owner, owner.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 1000)) FROM pg_stat_activity"
            " WHERE application_name = 'ratesflow-api' AND query LIKE '%statement_timestamp()%'"
            " AND pid <> pg_backend_pid()"
        )
        ((ended,),) = cursor.fetchall()
    return int(ended)


def _is_at_rest(trips: QueryBatcher, connections: ConnectionPool) -> bool:
    return not (trips._in_flight or trips._queued or connections._present or connections._statements)


def _until(happens: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.001)
