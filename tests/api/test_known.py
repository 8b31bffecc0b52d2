"""Known answers: kept under the data version, loaded once, never older than they may be, never backwards."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from falcon import testing

from api.app import create_app
from api.connections import DatabaseAwayError, OverloadedError
from api.forward import ForwardReader
from api.front import Front
from api.known import Content, KnownAnswers, Question
from api.parameters import RatesQuery
from api.rates import RatesResource
from api.reader import Places, Rates
from api.versions import Newest, News, Version
from api.watch import Watch
from database.lanes import bitmap
from tests.api.service import wait_until

PARAMS = {"date_from": "2021-01-01", "date_to": "2021-01-02", "orig_code": "CNGGZ", "dest_code": "EETLL"}


class Database:
    """Stands for the database: has a version, may be away, counts what it is asked."""

    def __init__(self) -> None:
        self.at = Version("e", 1)
        self.changes: list[tuple[int, bytes | None]] = []
        self.away = False
        self.unreadable = False  # but its version can be told
        self.seconds = 0.0
        self.reads = self.polls = self.rests = 0

    def commit(self, *lanes: tuple[str, str]) -> None:
        """Move to the next version, which touches these lanes."""
        self.changes.append((self.at.number + 1, bitmap(lanes)))
        self.at = Version(self.at.epoch, self.at.number + 1)

    def rates(self, query: RatesQuery, deadline: float) -> Rates:
        """Answer after some time."""
        self.reads += 1
        at = self.at
        time.sleep(self.seconds)
        if self.away or self.unreadable:
            raise DatabaseAwayError("away")
        return Rates(at, at, True, True, {})

    def news(self, seconds: float) -> News:
        """Tell the version and what led to it."""
        self.polls += 1
        if self.away:
            raise DatabaseAwayError("away")
        return News(self.at, max(0, self.at.number - 64), self.changes)

    def rest(self) -> None:
        """Hold no connection."""
        self.rests += 1

    def places(self, deadline: float) -> Places:
        """Know none."""
        return Places(self.at, self.at, (), ())

    def alike(self, text: str, deadline: float) -> list[str]:
        """Know none."""
        return []

    def check(self) -> None:
        """Live."""


@pytest.fixture
def database() -> Database:
    return Database()


def service(database: Database, **options: Any) -> Front:
    """Return the service on that database; it polls quickly, or only for requests if `interval_seconds` is None."""
    newest = Newest()
    times = {name: options.pop(name) for name in list(options) if name in ("idle_seconds", "max_stale_seconds")}
    interval_seconds = options.pop("interval_seconds", 0.02)
    watch = Watch(database, newest, interval_seconds=interval_seconds or 0, **times)
    if interval_seconds is None:
        watch._thread = threading.current_thread()  # so that none is started
    options = {"seconds": 0.4, **options}
    known = KnownAnswers(newest, watch, **options)
    reader = ForwardReader(database, newest, watch if options.get("max_bytes") != 0 else None)
    return Front(create_app(reader, known), known, RatesResource(reader, known))


def get(app: Front, query: str = "", **headers: str) -> testing.Result:
    """Ask for rates; header names are written with underscores."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    text = "&".join(f"{name}={value}" for name, value in PARAMS.items()) + query
    return testing.TestClient(app).simulate_get("/rates", query_string=text, headers=sent)


def test_second_answer_is_known(database: Database) -> None:
    """The same request twice reads the database once, and its answers are the same to the byte and header."""
    app = service(database)
    first, second = get(app), get(app)
    assert (first.status_code, first.content) == (second.status_code, second.content)
    differing = {name for name in first.headers if first.headers[name] != second.headers[name]}
    assert differing == {"x-request-id"}
    assert database.reads == 1


def test_new_version_is_seen(database: Database) -> None:
    """When the data version has moved, the answer is read anew within about the interval of the poll."""
    app = service(database)
    etag = get(app).headers["ETag"]
    database.at = Version("e", 2)
    wait_until(lambda: get(app).headers["ETag"] != etag, 2)
    assert database.reads == 2


def ask(app: Front, orig: str, dest: str, **headers: str) -> testing.Result:
    """Ask for the rates of another lane."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return testing.TestClient(app).simulate_get(
        "/rates", params=PARAMS | {"orig_code": orig, "dest_code": dest}, headers=sent
    )


TOUCHED = ("CNGGZ", "EETLL")
LANES = [TOUCHED, ("CNGGZ", "baltic"), ("china", "EETLL"), ("CNSGH", "EETLL"), ("CNSGH", "baltic"), ("china", "baltic")]


def test_a_commit_forgets_what_it_touches(database: Database) -> None:
    """After a commit the lanes that it touched are read again, and have other ETags; all others stay known."""
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


def test_lists_of_places_outlive_commits(database: Database) -> None:
    """Ports and regions stay known while batches commit, and are read again when reference data has changed."""
    client = testing.TestClient(service(database))
    tag = client.simulate_get("/ports").headers["ETag"]
    database.commit(TOUCHED)
    wait_until(lambda: '"e-2-' in client.simulate_get("/rates", params=PARAMS).headers["ETag"], 2)
    assert client.simulate_get("/ports", headers={"If-None-Match": tag}).status_code == 304
    database.at = Version("e", 3)
    wait_until(lambda: client.simulate_get("/ports").headers["ETag"] != tag, 2)


def test_workers_know_each_others_etags(database: Database) -> None:
    """Workers that began at different times may name one answer differently: each knows the other's to be good,
    and says so with the ETag that it was shown; once the lane is touched none is good any more."""
    early = service(database)
    first = get(early).headers["ETag"]
    for _ in range(70):  # more than a worker learns of when it begins
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


def test_restored_database_is_seen(database: Database) -> None:
    """A database that was restored to an older version has another epoch: its answers replace the known ones."""
    database.at = Version("e", 9)
    app = service(database)
    etag = get(app).headers["ETag"]
    database.at = Version("f", 3)
    wait_until(lambda: get(app).headers["ETag"] != etag, 2)
    assert '"f-3-' in get(app).headers["ETag"]


def test_a_hundred_at_once(database: Database) -> None:
    """A hundred who ask the same at once are answered from one read of the database."""
    app = service(database)
    database.seconds = 0.3
    start = threading.Barrier(100)

    def ask(_: int) -> int:
        start.wait()
        return get(app).status_code

    with ThreadPoolExecutor(100) as threads:
        assert set(threads.map(ask, range(100))) == {200}
    assert database.reads == 1


def test_failure_is_shared_and_forgotten(database: Database) -> None:
    """When the one read fails, all who wait for it are told; the next request reads again."""
    app = service(database)
    database.seconds, database.away = 0.2, True
    with ThreadPoolExecutor(5) as threads:
        assert set(threads.map(lambda _: get(app).status_code, range(5))) == {503}
    assert database.reads == 1
    database.seconds, database.away = 0, False
    assert get(app).status_code == 200


def test_too_many_for_one_read(database: Database) -> None:
    """Beyond those who may wait for another's read, requests are refused at once."""
    newest = Newest()
    newest.adopt(Version("e", 1))
    known = KnownAnswers(newest, Watch(database, newest), max_waiting=1)
    question = Question("key", 0)
    hold = threading.Event()

    def load(deadline: float) -> Content:
        hold.wait(5)
        return Content(Version("e", 1), "text/plain", b"x")

    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(known.answer, question, load) for _ in range(2)]
        time.sleep(0.3)
        started = time.monotonic()
        with pytest.raises(OverloadedError):
            known.answer(question, load)
        assert time.monotonic() - started < 0.1
        assert not any(each.done() for each in waiting)
        hold.set()
        assert {each.result()[0].body for each in waiting} == {b"x"}


def test_joined_read_is_not_older_than_who_joins(database: Database) -> None:
    """A request that comes after the worker has moved is not answered with a read that began before."""
    newest = Newest()
    newest.adopt(Version("e", 1))
    known = KnownAnswers(newest, Watch(database, newest), max_waiting=1)
    hold = threading.Event()

    def early(deadline: float) -> Content:
        hold.wait(5)
        return Content(Version("e", 1), "text/plain", b"before")

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(known.answer, Question("key", 0), early)
        wait_until(lambda: "key" in known._loads)
        newest.adopt(Version("e", 2))
        late = Content(Version("e", 2), "text/plain", b"after")
        second = threads.submit(known.answer, Question("key", 0), lambda _: late)
        wait_until(lambda: known._places._value == 0)
        hold.set()
        assert first.result()[0].body == b"before"
        assert second.result()[0].body == b"after"


def test_not_modified_without_a_read(database: Database) -> None:
    """Who shows the ETag of the current version gets 304 without any read, even where the answer is not kept."""
    app = service(database, max_bytes=10)
    etag = get(app).headers["ETag"]
    reads = database.reads
    for sent in (etag, f"W/{etag}", f'"other", {etag}'):
        answer = get(app, If_None_Match=sent)
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", etag)
        assert "max-age" in answer.headers["Cache-Control"]
    assert database.reads == reads


def test_etag_is_of_one_request(database: Database) -> None:
    """The ETag of one request is none of another's: a table is not taken for JSON, nor a lane for another."""
    app = service(database)
    tags = [get(app).headers["ETag"], get(app, Accept="text/csv").headers["ETag"], get(app, "&x").headers["ETag"]]
    assert len(set(tags)) == 3
    assert get(app, If_None_Match=tags[1]).status_code == 200


def test_client_that_knows_better(database: Database) -> None:
    """A client that shows the ETag of a newer version than the last poll saw is not answered with the older."""
    app = service(database, interval_seconds=None)
    old = get(app).headers["ETag"]
    database.at = Version("e", 2)
    assert get(app).headers["ETag"] == old
    newer = old.replace("e-1-", "e-2-")
    assert get(app, If_None_Match=newer).status_code == 304
    assert get(app).headers["ETag"] == newer


@pytest.mark.parametrize("sent", [1, 900])
def test_one_look_a_request(database: Database, sent: int) -> None:
    """However many ETags of newer versions a client shows, the database is asked for its version once."""
    app = service(database, interval_seconds=None)
    tag = get(app).headers["ETag"]
    database.commit(TOUCHED)
    polls = database.polls
    assert get(app, If_None_Match=", ".join([tag.replace("e-1-", "e-2-")] * sent)).status_code == 304
    assert database.polls == polls + 1


@pytest.mark.parametrize("ahead", [3, 10**6, 10**17, 10**30])
def test_made_up_versions_cost_little(database: Database, ahead: int) -> None:
    """Clients that show versions that never were get good answers, in time, for a few looks at the database."""
    app = service(database, interval_seconds=None)
    tag = get(app).headers["ETag"].replace("e-1-", f"e-{ahead}-")
    polls, began = database.polls, time.monotonic()
    with ThreadPoolExecutor(30) as threads:
        answers = list(threads.map(lambda _: get(app, If_None_Match=tag).status_code, range(30)))
    assert set(answers) == {200}
    assert time.monotonic() - began < 1
    assert database.polls - polls <= (20 if ahead < 10_000 else 0)
    assert database.reads == 1


def test_what_a_client_has_seen_is_waited_for(database: Database) -> None:
    """The server asked first may be behind what a client has seen: the client waits until it, or another, is not."""
    app = service(database, interval_seconds=None, seconds=2)
    tag = get(app).headers["ETag"]
    threading.Timer(0.1, database.commit, [TOUCHED]).start()  # as if a replay took that long
    assert get(app, If_None_Match=tag.replace("e-1-", "e-2-")).status_code == 304
    assert '"e-2-' in get(app).headers["ETag"]


def test_what_was_known_outlives_a_commit_that_cannot_be_read(database: Database) -> None:
    """The database goes away just after a commit was seen: the former answer is given, for as long as no client
    has been told anything of the commit, and never after."""
    app = service(database, interval_seconds=None)
    tag = get(app).headers["ETag"]
    database.commit(TOUCHED)
    app._known._watch.poll(1)
    database.away = True
    assert get(app).headers["ETag"] == tag
    assert ask(app, "CNSGH", "EETLL").status_code == 503
    database.away = False
    assert '"e-2-' in ask(app, "china", "EETLL").headers["ETag"]
    database.away = True
    assert get(app).status_code == 503


def test_what_was_known_grows_too_old(database: Database) -> None:
    """The former answer is given no longer than known answers are while the database is away."""
    app = service(database, max_stale_seconds=0.4)
    tag = get(app).headers["ETag"]
    database.unreadable = True
    database.commit(TOUCHED)
    began = time.monotonic()
    wait_until(lambda: get(app).status_code == 503, 2)
    assert 0.3 < time.monotonic() - began < 1.5
    database.unreadable = False
    assert get(app).headers["ETag"] != tag


def test_never_backwards(database: Database) -> None:
    """A read that finds an older version than one seen before is repeated, and given up rather than answered."""
    app = service(database, max_bytes=0)
    database.at = Version("e", 5)
    assert '"e-5-' in get(app).headers["ETag"]
    database.at = Version("e", 4)
    assert get(app).status_code == 503
    threading.Timer(0.05, lambda: setattr(database, "at", Version("e", 6))).start()
    assert '"e-6-' in get(app).headers["ETag"]


def test_left_epoch_does_not_return() -> None:
    """Once a restored database was seen, what still shows the one before it is behind, whatever its number."""
    newest = Newest()
    assert newest.adopt(Version("e", 5))
    assert newest.adopt(Version("f", 1))
    assert not newest.adopt(Version("e", 6))
    assert newest.state
    assert newest.state.version == Version("f", 1)


def test_late_read_of_an_old_version_is_not_kept(database: Database) -> None:
    """A read that began before a commit and ends after the poll saw it is not given to anyone later."""
    app = service(database)
    get(app)
    database.seconds = 0.2
    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(get, app, "&late")
        time.sleep(0.05)
        database.at = Version("e", 2)
        assert '"e-2-' in late.result().headers["ETag"]


def test_outage(database: Database) -> None:
    """While the database is away known answers are given until they are too old, and others are refused."""
    app = service(database, max_stale_seconds=0.4)
    get(app)
    database.away = True
    began = time.monotonic()
    assert get(app, "&other").status_code == 503
    assert get(app).status_code == 200
    wait_until(lambda: get(app).status_code == 503, 2)
    assert 0.3 < time.monotonic() - began < 1
    database.away = False
    assert get(app).status_code == 200


def test_rests_when_idle(database: Database) -> None:
    """Nobody asks for long: the database is left alone; the next request is read from it."""
    app = service(database, idle_seconds=0.1)
    get(app)
    time.sleep(0.4)
    polls, reads = database.polls, database.reads
    time.sleep(0.2)
    assert (database.polls, database.rests) == (polls, 1)
    database.at = Version("e", 2)
    assert '"e-2-' in get(app).headers["ETag"]
    assert database.reads == reads + 1


@pytest.fixture
def small(database: Database) -> Iterator[KnownAnswers]:
    newest = Newest()
    watch = Watch(database, newest)
    watch.poll(1)
    return KnownAnswers(newest, watch, max_bytes=200_000)


def test_memory_is_bounded(small: KnownAnswers, database: Database) -> None:
    """However many answers there are, no more bytes are kept than may be; what is used often stays."""
    content = Content(database.at, "text/plain", b"x" * 10_000)
    small.answer(Question("often", 0), lambda _: content)
    for number in range(100):
        small.answer(Question(f"key {number}", 0), lambda _: content)
        assert small.recall("often") is not None
        assert small.size()[1] <= 200_000
    assert small.recall("key 0") is None
    assert small.recall("key 99") is not None


def test_errors_are_not_kept(database: Database) -> None:
    """An answer that says what is wrong is made anew each time."""
    app = service(database)
    for _ in range(2):
        answer = testing.TestClient(app).simulate_get("/rates", params=PARAMS | {"orig_code": "NO PORT"})
        assert answer.status_code == 404
        assert answer.headers["Cache-Control"] == "no-store"


def test_failed_read_is_not_repeated(database: Database) -> None:
    """A request whose read fails becomes a 503 after that one read: its time is over."""
    database.away = True
    answer = get(service(database, max_bytes=0))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert database.reads == 1
