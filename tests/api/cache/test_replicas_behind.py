"""Two readers behind one address, one of which lags: no request fails, and no client sees an older version."""

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import psycopg2
import pytest
from falcon import testing
from psycopg2.extensions import connection as Connection  # noqa: N812

from ratesflow.api.server.service import Service
from ratesflow.api.server.wsgi import get_app
from ratesflow.local.postgres.server import Postgres
from tests.api.seed import TREE, Price, open_batch, seed_batch
from tests.api.service import wait_until
from tests.faults.readers.proxies import Wire
from tests.fix_database import PASSWORD, Database
from tests.loader.tasks.test_standby import standby  # noqa: F401 a fixture

DAY = date(2021, 1, 1)
TOUCHED, OTHER = ("CNGGZ", "EETLL"), ("CNSGH", "NLRTM")
LAG_SECONDS = 3.0
VERSION = "SELECT version FROM data_version"
SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ratesflow-api' AND datname = current_database()"
)
END_POLLS = SESSIONS.replace("count(*)", "count(pg_terminate_backend(pid))") + " AND query LIKE 'EXECUTE poll_version%'"


class RotatingProxy(Wire):
    """A proxy that forwards connections to servers in turn."""

    def forward_to(self, *ports: int) -> None:
        """Forward the next connections to these ports."""
        self._targets = itertools.cycle(ports)


@pytest.fixture
def new_proxy() -> Iterator[Callable[..., RotatingProxy]]:
    """A function that creates proxies, which are closed at the end."""
    proxies: list[RotatingProxy] = []

    def make(*ports: int) -> RotatingProxy:
        proxies.append(RotatingProxy(*ports))
        return proxies[-1]

    yield make
    for each in proxies:
        each.close()


@pytest.fixture
def behind(standby: Postgres, module_database: Database, owner: Connection) -> Iterator[Postgres]:  # noqa: F811
    """The standby with one price for each lane, whose replay is paused until the end of the test."""
    for lane in (TOUCHED, OTHER):
        commit(owner, *lane)
    url = standby.superuser_url(module_database.name)
    wait_until(lambda: single_value(url, VERSION) == single_value(module_database.url, VERSION))
    single_value(url, "SELECT pg_wal_replay_pause()::text")
    wait_until(lambda: single_value(url, "SELECT pg_get_wal_replay_pause_state()") == "paused")
    yield standby
    single_value(url, "SELECT pg_wal_replay_resume()::text")


def single_value(url: str, query: str) -> object:
    """Return the single value of a query."""
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(query)
        ((value,),) = cursor.fetchall()
    connection.close()
    return value


def commit(owner: Connection, orig: str, dest: str) -> None:
    """Commit one more price of a lane."""
    open_batch(owner, seed_batch(owner, TREE, [Price(orig, dest, DAY, 100)], staged=False))


def worker(database: Database, proxy: RotatingProxy, **settings: str) -> Service:
    """Return a worker that reads through the proxy."""
    url = f"postgresql://api:{PASSWORD}@127.0.0.1:{proxy.port}/{database.name}"
    return get_app({"DATABASE_URL": url, "RATESFLOW_API_POLL_SECONDS": "0.3", **settings})


def get_lane(app: Service, lane: tuple[str, str], extra: str = "", **headers: str) -> testing.Result:
    """Request the day of a lane; `extra` changes the query, so that the response is not cached."""
    query = f"date_from={DAY}&date_to={DAY}&orig_code={lane[0]}&dest_code={lane[1]}{extra}"
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return testing.TestClient(app).simulate_get("/rates", query_string=query, headers=sent)


def count(response: testing.Result) -> int:
    """Return the number of prices in a response, which grows with each commit; 0 if the request failed."""
    return int(response.json["rates"][0]["count"]) if response.status_code == 200 else 0


def test_lagging_reader_fails_no_request(
    behind: Postgres, module_database: Database, owner: Connection, new_proxy: Callable[..., RotatingProxy]
) -> None:
    """If a worker polls a commit from one reader while its connections lead to the lagging one, no request fails; all
    responses, cached or not, soon include the commit, and never go back."""
    proxy = new_proxy(behind.port)
    app = worker(module_database, proxy)
    with ThreadPoolExecutor(8) as threads:
        (before,) = {
            count(each) for each in threads.map(lambda number: get_lane(app, TOUCHED, f"&{number}"), range(30))
        }
    proxy.forward_to(module_database.server.port)
    wait_until(lambda: bool(single_value(behind.url(database=module_database.name), END_POLLS)))
    wait_until(lambda: bool(single_value(module_database.url, SESSIONS)))
    proxy.forward_to(behind.port, module_database.server.port)
    seen: dict[int, list[int]] = {number: [] for number in range(6)}
    until = time.monotonic() + LAG_SECONDS

    def client(number: int) -> None:
        for turn in itertools.count():
            if time.monotonic() > until:
                return
            extra = f"&{number}-{turn}" if number > 1 else ""  # the first two send cached requests
            seen[number].append(count(get_lane(app, TOUCHED if number % 2 else OTHER, extra)))
            time.sleep(0.01)

    with ThreadPoolExecutor(len(seen)) as threads:
        clients = [threads.submit(client, number) for number in seen]
        wait_until(lambda: all(seen.values()))
        commit(owner, *TOUCHED)
        for each in clients:
            each.result()
    for number, counts in seen.items():
        assert 0 not in counts, f"{counts.count(0)} of {len(counts)} failed"
        assert counts == sorted(counts)
        assert counts[-1] == (before + 1 if number % 2 else counts[0])
    assert count(get_lane(app, TOUCHED)) == before + 1


def test_client_of_another_reader_never_goes_back(
    behind: Postgres, module_database: Database, owner: Connection, new_proxy: Callable[..., RotatingProxy]
) -> None:
    """A worker that is connected to the lagging reader sends a client of the other reader no older version than it
    has."""
    proxy = new_proxy(behind.port)
    app = worker(module_database, proxy, RATESFLOW_API_POLL_SECONDS="60")
    before = get_lane(app, TOUCHED)
    commit(owner, *TOUCHED)
    another = worker(module_database, new_proxy(module_database.server.port))
    seen = get_lane(another, TOUCHED)
    assert count(seen) == count(before) + 1
    proxy.forward_to(behind.port, module_database.server.port)
    assert get_lane(app, TOUCHED, If_None_Match=seen.headers["ETag"]).status_code == 304
    assert count(get_lane(app, TOUCHED)) == count(seen)
    assert get_lane(app, OTHER, If_None_Match=get_lane(another, OTHER).headers["ETag"]).status_code == 304
