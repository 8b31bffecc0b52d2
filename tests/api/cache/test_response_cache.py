"""Cached responses: valid for a data version, loaded once, never too old, and never of an earlier version."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from falcon import testing

from ratesflow.api.cache.response_cache import Content, Lookup, ResponseCache
from ratesflow.api.cache.version_poller import VersionPoller
from ratesflow.api.models.errors import OverloadedError
from ratesflow.api.models.versions import LatestVersion, Version
from tests.api.service import wait_until
from tests.api.stand_in import PARAMS, TOUCHED, Database, get, get_lane, service


@pytest.fixture
def database() -> Database:
    return Database()


def test_second_response_is_cached(database: Database) -> None:
    """The same request twice reads the database once, and gets the same bytes and headers."""
    app = service(database)
    first, second = get(app), get(app)
    assert (first.status_code, first.content) == (second.status_code, second.content)
    differing = {name for name in first.headers if first.headers[name] != second.headers[name]}
    assert differing == {"x-request-id"}
    assert database.reads == 1


def test_new_version_is_noticed(database: Database) -> None:
    """After a change of the data version, the response is read again within about one interval of polls."""
    app = service(database)
    etag = get(app).headers["ETag"]
    database.at = Version("e", 2)
    wait_until(lambda: get(app).headers["ETag"] != etag, 2)
    assert database.reads == 2


def test_restored_database_is_noticed(database: Database) -> None:
    """A database restored to an older version has another epoch: its responses replace the cached ones."""
    database.at = Version("e", 9)
    app = service(database)
    etag = get(app).headers["ETag"]
    database.at = Version("f", 3)
    wait_until(lambda: get(app).headers["ETag"] != etag, 2)
    assert '"f-3-' in get(app).headers["ETag"]


def test_simultaneous_requests_share_a_read(database: Database) -> None:
    """A hundred simultaneous requests for the same response share one read of the database."""
    app = service(database)
    database.seconds = 0.3
    start = threading.Barrier(100)

    def send(_: int) -> int:
        start.wait()
        return get(app).status_code

    with ThreadPoolExecutor(100) as threads:
        assert set(threads.map(send, range(100))) == {200}
    assert database.reads == 1


def test_failure_is_shared_and_not_cached(database: Database) -> None:
    """When a shared read fails, all requests that wait for it fail; the next request reads again."""
    app = service(database)
    database.seconds, database.unavailable = 0.2, True
    with ThreadPoolExecutor(5) as threads:
        assert set(threads.map(lambda _: get(app).status_code, range(5))) == {503}
    assert database.reads == 1
    database.seconds, database.unavailable = 0, False
    assert get(app).status_code == 200


def test_limit_of_requests_that_share_a_read(database: Database) -> None:
    """Requests beyond the limit of those that may share a read get an error at once."""
    latest = LatestVersion()
    latest.adopt(Version("e", 1))
    cache = ResponseCache(latest, VersionPoller(database, latest), max_coalesced=1)
    lookup = Lookup("key", 0)
    hold = threading.Event()

    def load(deadline: float) -> Content:
        hold.wait(5)
        return Content(Version("e", 1), "text/plain", b"x")

    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(cache.get_or_load, lookup, load) for _ in range(2)]
        time.sleep(0.3)
        started = time.monotonic()
        with pytest.raises(OverloadedError):
            cache.get_or_load(lookup, load)
        assert time.monotonic() - started < 0.1
        assert not any(each.done() for each in waiting)
        hold.set()
        assert {each.result()[0].body for each in waiting} == {b"x"}


def test_coalesced_read_is_not_older_than_the_request(database: Database) -> None:
    """A request that arrives after the worker has advanced does not get the result of a read that began before."""
    latest = LatestVersion()
    latest.adopt(Version("e", 1))
    cache = ResponseCache(latest, VersionPoller(database, latest), max_coalesced=1)
    hold = threading.Event()

    def early(deadline: float) -> Content:
        hold.wait(5)
        return Content(Version("e", 1), "text/plain", b"before")

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(cache.get_or_load, Lookup("key", 0), early)
        wait_until(lambda: "key" in cache._loads)
        latest.adopt(Version("e", 2))
        late = Content(Version("e", 2), "text/plain", b"after")
        second = threads.submit(cache.get_or_load, Lookup("key", 0), lambda _: late)
        wait_until(lambda: cache._coalesced_slots._value == 0)
        hold.set()
        assert first.result()[0].body == b"before"
        assert second.result()[0].body == b"after"


def test_the_previous_response_outlives_a_commit_that_cannot_be_read(database: Database) -> None:
    """If the database becomes unavailable just after a poll saw a commit, the previous response is served until a
    client has received a response of the new version, and never after that."""
    app = service(database, interval_seconds=None)
    tag = get(app).headers["ETag"]
    database.commit(TOUCHED)
    app._fast_path._cache._poller.poll(1)
    database.unavailable = True
    assert get(app).headers["ETag"] == tag
    assert get_lane(app, "CNSGH", "EETLL").status_code == 503
    database.unavailable = False
    assert '"e-2-' in get_lane(app, "china", "EETLL").headers["ETag"]
    database.unavailable = True
    assert get(app).status_code == 503


def test_the_previous_response_becomes_too_old(database: Database) -> None:
    """The previous response is served no longer than cached responses are while the database is unavailable."""
    app = service(database, max_stale_seconds=0.4)
    tag = get(app).headers["ETag"]
    database.unreadable = True
    database.commit(TOUCHED)
    began = time.monotonic()
    wait_until(lambda: get(app).status_code == 503, 2)
    assert 0.3 < time.monotonic() - began < 1.5
    database.unreadable = False
    assert get(app).headers["ETag"] != tag


def test_older_version_is_read_again(database: Database) -> None:
    """A read that finds an older version than one seen before is repeated; if it finds that again, it fails."""
    app = service(database, max_bytes=0)
    database.at = Version("e", 5)
    assert '"e-5-' in get(app).headers["ETag"]
    database.at = Version("e", 4)
    assert get(app).status_code == 503
    threading.Timer(0.05, lambda: setattr(database, "at", Version("e", 6))).start()
    assert '"e-6-' in get(app).headers["ETag"]


def test_earlier_epoch_does_not_return() -> None:
    """After a change of the epoch, a server with the earlier epoch counts as behind, whatever its version."""
    latest = LatestVersion()
    assert latest.adopt(Version("e", 5))
    assert latest.adopt(Version("f", 1))
    assert not latest.adopt(Version("e", 6))
    assert latest.state
    assert latest.state.version == Version("f", 1)


def test_late_read_of_an_old_version_is_not_cached(database: Database) -> None:
    """The result of a read that began before a commit and ended after the poll saw it is not cached."""
    app = service(database)
    get(app)
    database.seconds = 0.2
    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(get, app, "&late")
        time.sleep(0.05)
        database.at = Version("e", 2)
        assert '"e-2-' in late.result().headers["ETag"]


def test_outage(database: Database) -> None:
    """While the database is unavailable, cached responses are served until too old; other requests get a 503."""
    app = service(database, max_stale_seconds=0.4)
    get(app)
    database.unavailable = True
    began = time.monotonic()
    assert get(app, "&other").status_code == 503
    assert get(app).status_code == 200
    wait_until(lambda: get(app).status_code == 503, 2)
    assert 0.3 < time.monotonic() - began < 1
    database.unavailable = False
    assert get(app).status_code == 200


def test_idle_service_stops_polling(database: Database) -> None:
    """After some time without requests, polls stop; the next request reads the database."""
    app = service(database, idle_seconds=0.1)
    get(app)
    time.sleep(0.4)
    polls, reads = database.polls, database.reads
    time.sleep(0.2)
    assert (database.polls, database.closes) == (polls, 1)
    database.at = Version("e", 2)
    assert '"e-2-' in get(app).headers["ETag"]
    assert database.reads == reads + 1


@pytest.fixture
def small(database: Database) -> Iterator[ResponseCache]:
    latest = LatestVersion()
    poller = VersionPoller(database, latest)
    poller.poll(1)
    return ResponseCache(latest, poller, max_bytes=200_000)


def test_memory_is_bounded(small: ResponseCache, database: Database) -> None:
    """The cache never exceeds its limit in bytes, and keeps responses that are often used."""
    content = Content(database.at, "text/plain", b"x" * 10_000)
    small.get_or_load(Lookup("often", 0), lambda _: content)
    for number in range(100):
        small.get_or_load(Lookup(f"key {number}", 0), lambda _: content)
        assert small.get("often") is not None
        assert small.size()[1] <= 200_000
    assert small.get("key 0") is None
    assert small.get("key 99") is not None


def test_errors_are_not_cached(database: Database) -> None:
    """Errors are not cached."""
    app = service(database)
    for _ in range(2):
        response = testing.TestClient(app).simulate_get("/rates", params=PARAMS | {"orig_code": "NO PORT"})
        assert response.status_code == 404
        assert response.headers["Cache-Control"] == "no-store"


def test_failed_read_is_not_repeated(database: Database) -> None:
    """A request whose read fails gets a 503 after that one read: its deadline has passed."""
    database.unavailable = True
    response = get(service(database, max_bytes=0))
    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
    assert response.headers["Content-Type"] == "application/problem+json"
    assert database.reads == 1
