"""Which responses and ETags remain valid after commits, and the responses to requests with ETags."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from falcon import testing

from ratesflow.api.models.versions import Version
from tests.api.service import wait_until
from tests.api.stand_in import LANES, PARAMS, TOUCHED, Database, get, get_lane, service


@pytest.fixture
def database() -> Database:
    return Database()


def test_commit_invalidates_only_touched_lanes(database: Database) -> None:
    """After a commit, the lanes that it touched are read again and have new ETags; all others stay cached."""
    app = service(database)
    tags = {lane: get_lane(app, *lane).headers["ETag"] for lane in LANES}
    assert database.reads == len(LANES)
    database.commit(TOUCHED)
    wait_until(lambda: get_lane(app, *TOUCHED).headers["ETag"] != tags[TOUCHED], 2)
    after = {lane: get_lane(app, *lane).headers["ETag"] for lane in LANES}
    assert [lane for lane in LANES if after[lane] != tags[lane]] == LANES[:3]
    assert database.reads == len(LANES) + 3
    assert get_lane(app, *LANES[5], If_None_Match=tags[LANES[5]]).status_code == 304
    assert get_lane(app, *TOUCHED, If_None_Match=tags[TOUCHED]).status_code == 200


def test_lists_of_locations_stay_cached_after_commits(database: Database) -> None:
    """Ports and regions stay cached while batches commit, and are read again when reference data has changed."""
    client = testing.TestClient(service(database))
    tag = client.simulate_get("/ports").headers["ETag"]
    database.commit(TOUCHED)
    wait_until(lambda: '"e-2-' in client.simulate_get("/rates", params=PARAMS).headers["ETag"], 2)
    assert client.simulate_get("/ports", headers={"If-None-Match": tag}).status_code == 304
    database.at = Version("e", 3)
    wait_until(lambda: client.simulate_get("/ports").headers["ETag"] != tag, 2)


def test_workers_accept_each_others_etags(database: Database) -> None:
    """Workers that started at different times may issue different ETags for a response. Each accepts the other's, and
    responds with the ETag that the client sent; after a change of the lane neither is valid."""
    early = service(database)
    first = get(early).headers["ETag"]
    for _ in range(70):  # more changes than a new worker reads
        database.commit(("CNSGH", "NLRTM"))
    wait_until(lambda: '"e-71-' in get_lane(early, "CNSGH", "NLRTM").headers["ETag"], 2)
    late = service(database)
    second = get(late).headers["ETag"]
    assert first.replace("e-1-", "e-7-") == second
    response = get(early, If_None_Match=second)
    assert (response.status_code, response.headers["ETag"]) == (304, second)
    assert get(late, If_None_Match=first).headers["ETag"] == second
    database.commit(TOUCHED)
    for app in (early, late):
        wait_until(lambda app=app: '"e-72-' in get(app).headers["ETag"], 2)
        assert get(app, If_None_Match=f"{first}, {second}").status_code == 200


def test_not_modified_without_a_read(database: Database) -> None:
    """A client that sends the ETag of the current version gets a 304 without a read, even if nothing is cached."""
    app = service(database, max_bytes=10)
    etag = get(app).headers["ETag"]
    reads = database.reads
    for sent in (etag, f"W/{etag}", f'"other", {etag}'):
        response = get(app, If_None_Match=sent)
        assert (response.status_code, response.content, response.headers["ETag"]) == (304, b"", etag)
        assert "max-age" in response.headers["Cache-Control"]
    assert database.reads == reads


def test_etag_is_valid_for_one_request(database: Database) -> None:
    """The ETag of a request is not valid for other requests, such as the same rates as CSV."""
    app = service(database)
    tags = [get(app).headers["ETag"], get(app, Accept="text/csv").headers["ETag"], get(app, "&x").headers["ETag"]]
    assert len(set(tags)) == 3
    assert get(app, If_None_Match=tags[1]).status_code == 200


def test_client_with_a_newer_etag(database: Database) -> None:
    """A client that sends the ETag of a version newer than the last poll does not get the older version."""
    app = service(database, interval_seconds=None)
    old = get(app).headers["ETag"]
    database.at = Version("e", 2)
    assert get(app).headers["ETag"] == old
    newer = old.replace("e-1-", "e-2-")
    assert get(app, If_None_Match=newer).status_code == 304
    assert get(app).headers["ETag"] == newer


@pytest.mark.parametrize("sent", [1, 900])
def test_one_poll_per_request(database: Database, sent: int) -> None:
    """The data version is polled once per request, for any number of ETags of newer versions."""
    app = service(database, interval_seconds=None)
    tag = get(app).headers["ETag"]
    database.commit(TOUCHED)
    polls = database.polls
    assert get(app, If_None_Match=", ".join([tag.replace("e-1-", "e-2-")] * sent)).status_code == 304
    assert database.polls == polls + 1


@pytest.mark.parametrize("ahead", [3, 10**6, 10**17, 10**30])
def test_invented_versions_cost_little(database: Database, ahead: int) -> None:
    """Clients that send invented versions get correct responses in time, after a few polls."""
    app = service(database, interval_seconds=None)
    tag = get(app).headers["ETag"].replace("e-1-", f"e-{ahead}-")
    polls, began = database.polls, time.monotonic()
    with ThreadPoolExecutor(30) as threads:
        responses = list(threads.map(lambda _: get(app, If_None_Match=tag).status_code, range(30)))
    assert set(responses) == {200}
    assert time.monotonic() - began < 1
    assert database.polls - polls <= (20 if ahead < 10_000 else 0)
    assert database.reads == 1


def test_response_waits_for_the_version_of_the_client(database: Database) -> None:
    """If the server is behind the version of a client's ETag, the response waits until a server has that version."""
    app = service(database, interval_seconds=None, seconds=2)
    tag = get(app).headers["ETag"]
    threading.Timer(0.1, database.commit, [TOUCHED]).start()  # simulates the delay of replay
    assert get(app, If_None_Match=tag.replace("e-1-", "e-2-")).status_code == 304
    assert '"e-2-' in get(app).headers["ETag"]
