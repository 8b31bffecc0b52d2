"""Requests that come together go to the database together, and each gets what is its own."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg2 import errors
from psycopg2.extensions import connection as Connection  # noqa: N812

from api.connections import Connections, DatabaseAwayError, OverloadedError
from api.round_trips import MOST_TOGETHER, RoundTrips

# Two rows a request: its text, and when the statement that told it began. Each row lasts as long as the request says.
TELL = """
SELECT nth::integer, text, statement_timestamp()::text, pg_sleep(seconds) IS NULL
FROM unnest(string_to_array(%s, ','), string_to_array(%s, ',')::float[]) WITH ORDINALITY AS asked (text, seconds, nth)
CROSS JOIN generate_series(1, 2)
"""


@pytest.fixture
def connections(reader_url: str) -> Iterator[Connections]:
    """Give three connections, and twenty places to wait for one."""
    connections = Connections(reader_url, "SELECT 1", size=3, max_waiting=20)
    yield connections
    connections.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Give as many threads as there are requests."""
    with ThreadPoolExecutor(100) as threads:
        yield threads


def test_alone_goes_at_once(connections: Connections) -> None:
    """A request that finds nothing under way waits for nobody, time after time."""
    trips = RoundTrips(connections, TELL)
    for text in ("one", "two"):
        began = time.monotonic()
        assert [row[1] for row in trips.fetch((text, "0"), seconds=2)] == [text, text]
        assert time.monotonic() - began < 1
    assert _is_at_rest(trips, connections)


def test_come_together_go_together(connections: Connections, threads: ThreadPoolExecutor) -> None:
    """What gathers while one statement is under way is one statement, and each request has its own rows of it."""
    trips = RoundTrips(connections, TELL)
    first = threads.submit(trips.fetch, ("first", "0.005"), seconds=5)
    _until(lambda: trips._under_way == 1)
    others = [threads.submit(trips.fetch, (f"other {number}", "0"), seconds=5) for number in range(15)]
    found = [(other.result()[0][1], other.result()[0][2]) for other in others]
    assert [text for text, _ in found] == [f"other {number}" for number in range(15)]
    assert first.result()[0][1] == "first"
    # Some may have come too late, or too early, for the statement of most.
    assert len({moment for _, moment in found}) <= 4
    assert _is_at_rest(trips, connections)


def test_next_goes_as_soon_as_one_is_back(
    connections: Connections, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Round trips follow one another without a pause, and without anybody's patience ending."""
    monkeypatch.setattr("api.round_trips.PATIENCE_SECONDS", 9.0)
    trips = RoundTrips(connections, TELL)
    began = time.monotonic()
    asked = [threads.submit(trips.fetch, (f"{number}", "0.001"), seconds=9) for number in range(20)]
    assert [each.result()[0][1] for each in asked] == [f"{number}" for number in range(20)]
    assert time.monotonic() - began < 5
    assert connections.most_at_once() == (1, 0)


def test_slow_one_holds_nobody_up(connections: Connections, threads: ThreadPoolExecutor) -> None:
    """While a statement takes long, others go by other connections."""
    trips = RoundTrips(connections, TELL)
    slow = threads.submit(trips.fetch, ("slow", "0.5"), seconds=5)
    _until(lambda: trips._under_way == 1)
    began = time.monotonic()
    quick = [threads.submit(trips.fetch, (f"{number}", "0"), seconds=5) for number in range(10)]
    assert [each.result()[0][1] for each in quick] == [f"{number}" for number in range(10)]
    assert time.monotonic() - began < 0.45
    assert not slow.done()
    assert connections.most_at_once() == (2, 0)
    assert slow.result()[1][1] == "slow"
    assert _is_at_rest(trips, connections)


def test_wrong_one_fails_alone(connections: Connections, threads: ThreadPoolExecutor) -> None:
    """A statement fails for all who are in it: each then tries alone, and only those fail whose fault it is."""
    trips = RoundTrips(connections, TELL)
    first = threads.submit(trips.fetch, ("first", "0.01"), seconds=5)
    _until(lambda: trips._under_way == 1)
    lasts = ["0", "no number", "0", "0", "no number"]
    others = [threads.submit(trips.fetch, (f"{number}", each), seconds=5) for number, each in enumerate(lasts)]
    for number, other in enumerate(others):
        if lasts[number] == "0":
            assert other.result()[0][1] == f"{number}"
        else:
            with pytest.raises(errors.InvalidTextRepresentation):
                other.result()
    assert first.result()
    assert trips.fetch(("next", "0"), seconds=2)[0][1] == "next"
    assert _is_at_rest(trips, connections)


def test_database_that_hangs(connections: Connections, threads: ThreadPoolExecutor) -> None:
    """Nobody waits beyond their time; afterwards all is as before."""
    trips = RoundTrips(connections, TELL)
    began = time.monotonic()
    asked = [threads.submit(trips.fetch, (f"{number}", "5"), seconds=0.5) for number in range(12)]
    for each in asked:
        with pytest.raises(DatabaseAwayError):
            each.result()
    assert 0.4 < time.monotonic() - began < 1.5
    _until(lambda: _is_at_rest(trips, connections))
    assert trips.fetch(("after", "0"), seconds=2)[0][1] == "after"


def test_too_many_are_refused_at_once(connections: Connections, threads: ThreadPoolExecutor) -> None:
    """Connections and places taken: the next request is refused without a wait."""
    trips = RoundTrips(connections, TELL)
    asked = [threads.submit(trips.fetch, (f"{number}", "0.2"), seconds=0.6) for number in range(23)]
    _until(lambda: connections._present == 23)
    began = time.monotonic()
    with pytest.raises(OverloadedError, match="too many"):
        trips.fetch(("one more", "0"), seconds=5)
    assert time.monotonic() - began < 0.2
    assert any(each.exception() is None for each in asked)


def test_backends_that_end(connections: Connections, threads: ThreadPoolExecutor, owner: Connection) -> None:
    """Backends that are ended under way are replaced within the same requests."""
    trips = RoundTrips(connections, TELL)
    asked = [threads.submit(trips.fetch, (f"{number}", "0.02"), seconds=10) for number in range(20)]
    _until(lambda: trips._under_way > 0)
    with owner, owner.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity"
            " WHERE application_name = 'ratesflow-api' AND query LIKE '%statement_timestamp()%'"
            " AND pid <> pg_backend_pid()"
        )
    assert [each.result()[0][1] for each in asked] == [f"{number}" for number in range(20)]
    assert _is_at_rest(trips, connections)


def test_more_than_go_together(reader_url: str, threads: ThreadPoolExecutor) -> None:
    """A statement is for so many at most; the rest have the next one."""
    connections = Connections(reader_url, "SELECT 1", size=1, max_waiting=99)
    trips = RoundTrips(connections, TELL)
    first = threads.submit(trips.fetch, ("first", "0.2"), seconds=9)
    _until(lambda: trips._under_way == 1)
    others = [threads.submit(trips.fetch, (f"{number}", "0"), seconds=9) for number in range(MOST_TOGETHER * 2)]
    moments = [other.result()[0][2] for other in others]
    assert max(moments.count(moment) for moment in moments) == MOST_TOGETHER
    assert first.result()
    connections.close()


def test_heavy_ones_go_alone(reader_url: str, threads: ThreadPoolExecutor) -> None:
    """A statement is no more work than so much, whatever is asked; what weighs more goes alone."""
    connections = Connections(reader_url, "SELECT 1", size=1, max_waiting=99)
    trips = RoundTrips(connections, TELL)
    first = threads.submit(trips.fetch, ("first", "0.2"), seconds=9)
    _until(lambda: trips._under_way == 1)
    weights = [MOST_TOGETHER // 2] * 6 + [MOST_TOGETHER * 4] * 3
    others = [threads.submit(trips.fetch, (f"{weight}", "0"), seconds=9, weight=weight) for weight in weights]
    together: dict[str, int] = {}
    for weight, other in zip(weights, others, strict=True):
        moment = other.result()[0][2]
        together[moment] = together.get(moment, 0) + weight
    assert max(weight for weight in together.values() if weight < MOST_TOGETHER * 4) == MOST_TOGETHER
    assert max(together.values()) == MOST_TOGETHER * 4
    assert first.result()
    connections.close()


def test_whatever_happens(connections: Connections, threads: ThreadPoolExecutor) -> None:
    """Requests quick, slow, wrong and with too little time, all at once: each ends, in time, with what is its own."""
    trips = RoundTrips(connections, TELL)
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
        except (DatabaseAwayError, errors.InvalidTextRepresentation, errors.QueryCanceled) as error:
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
    assert set(ended) > {"answered", "DatabaseAwayError"}
    assert _is_at_rest(trips, connections)
    assert trips.fetch(("after", "0"), seconds=2)[0][1] == "after"


def _is_at_rest(trips: RoundTrips, connections: Connections) -> bool:
    return not (trips._under_way or trips._waiting or connections._present or connections._statements)


def _until(happens: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.001)
