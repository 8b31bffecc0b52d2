"""How commits affect cached responses and ETags, and conditional requests."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from falcon import testing

from ratesflow.api.models.versions import Version
from tests.api.service import wait_until
from tests.api.stand_in import LANES, PARAMS, TOUCHED, Database, ask, get, service


@pytest.fixture
def database() -> Database:
    return Database()


def test_commit_invalidates_only_touched_lanes(database: Database) -> None:
    """After a commit the touched lanes are read again and have new ETags; all others stay cached."""
    app = service(database)
    tags = {lane: ask(app, *lane).headers["ETag"] for lane in LANES}
    assert database.reads == len(LANES)
    database.commit(TOUCHED)
    wait_until(lambda: ask(app, *TOUCHED).headers["ETag"] != tags[TOUCHED], 2)
    after = {lane: ask(app, *lane).headers["ETag"] for lane in LANES}
    assert [lane for lane in LANES if after[lane] != tags[lane]] == LANES[:3]
    assert database.reads == len(LANES) + 3
    assert ask(app, *LANES[5], If_None_Match=tags[LANES[5]]).status_code == 304
    assert ask(app, *TOUCHED, If_None_Match=tags[TOUCHED]).status_code == 200


def test_location_lists_stay_cached_across_commits(database: Database) -> None:
    """Ports and regions stay cached while batches commit, and are read again after a change of reference data."""
    client = testing.TestClient(service(database))
    tag = client.simulate_get("/ports").headers["ETag"]
    database.commit(TOUCHED)
    wait_until(lambda: '"e-2-' in client.simulate_get("/rates", params=PARAMS).headers["ETag"], 2)
    assert client.simulate_get("/ports", headers={"If-None-Match": tag}).status_code == 304
    database.at = Version("e", 3)
    wait_until(lambda: client.simulate_get("/ports").headers["ETag"] != tag, 2)


def test_workers_accept_each_others_etags(database: Database) -> None:
    """Workers that started at different times may have different ETags for one response: each accepts the other's and
    returns the one that it received; once the lane is touched, both are invalid."""
    early = service(database)
    first = get(early).headers["ETag"]
    for _ in range(70):  # more changes than a new worker reads
        database.commit(("CNSGH", "NLRTM"))
    wait_until(lambda: '"e-71-' in ask(early, "CNSGH", "NLRTM").headers["ETag"], 2)
    late = service(database)
    second = get(late).headers["ETag"]
    assert first.replace("e-1-", "e-7-") == second
    answer = get(early, If_None_Match=second)
    assert (answer.status_code, answer.headers["ETag"]) == (304, second)
    assert get(late, If_None_Match=first).headers["ETag"] == second
    database.commit(TOUCHED)
    for app in (early, late):
        wait_until(lambda app=app: '"e-72-' in get(app).headers["ETag"], 2)
        assert get(app, If_None_Match=f"{first}, {second}").status_code == 200


def test_not_modified_without_a_read(database: Database) -> None:
    """A request with the current ETag gets 304 without a read, even if the response is not cached."""
    app = service(database, max_bytes=10)
    etag = get(app).headers["ETag"]
    reads = database.reads
    for sent in (etag, f"W/{etag}", f'"other", {etag}'):
        answer = get(app, If_None_Match=sent)
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", etag)
        assert "max-age" in answer.headers["Cache-Control"]
    assert database.reads == reads


def test_etag_is_specific_to_its_request(database: Database) -> None:
    """The ETag of one request is not valid for another format or query."""
    app = service(database)
    tags = [get(app).headers["ETag"], get(app, Accept="text/csv").headers["ETag"], get(app, "&x").headers["ETag"]]
    assert len(set(tags)) == 3
    assert get(app, If_None_Match=tags[1]).status_code == 200


def test_etag_of_a_newer_version_is_respected(database: Database) -> None:
    """A client with the ETag of a version newer than the last poll does not get an older response."""
    app = service(database, interval_seconds=None)
    old = get(app).headers["ETag"]
    database.at = Version("e", 2)
    assert get(app).headers["ETag"] == old
    newer = old.replace("e-1-", "e-2-")
    assert get(app, If_None_Match=newer).status_code == 304
    assert get(app).headers["ETag"] == newer


@pytest.mark.parametrize("sent", [1, 900])
def test_request_polls_the_version_once(database: Database, sent: int) -> None:
    """The database version is polled once, however many ETags of newer versions a request has."""
    app = service(database, interval_seconds=None)
    tag = get(app).headers["ETag"]
    database.commit(TOUCHED)
    polls = database.polls
    assert get(app, If_None_Match=", ".join([tag.replace("e-1-", "e-2-")] * sent)).status_code == 304
    assert database.polls == polls + 1


@pytest.mark.parametrize("ahead", [3, 10**6, 10**17, 10**30])
def test_invented_versions_are_cheap(database: Database, ahead: int) -> None:
    """Requests with ETags of versions that never existed get correct responses in time, with few polls."""
    app = service(database, interval_seconds=None)
    tag = get(app).headers["ETag"].replace("e-1-", f"e-{ahead}-")
    polls, began = database.polls, time.monotonic()
    with ThreadPoolExecutor(30) as threads:
        answers = list(threads.map(lambda _: get(app, If_None_Match=tag).status_code, range(30)))
    assert set(answers) == {200}
    assert time.monotonic() - began < 1
    assert database.polls - polls <= (20 if ahead < 10_000 else 0)
    assert database.reads == 1


def test_request_waits_for_the_version_of_its_etag(database: Database) -> None:
    """If the server lags behind the version of a request's ETag, the request waits until a server has it."""
    app = service(database, interval_seconds=None, seconds=2)
    tag = get(app).headers["ETag"]
    threading.Timer(0.1, database.commit, [TOUCHED]).start()  # simulates the delay of replay
    assert get(app, If_None_Match=tag.replace("e-1-", "e-2-")).status_code == 304
    assert '"e-2-' in get(app).headers["ETag"]
