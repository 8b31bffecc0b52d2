"""During commits, undos, compactions and moves of ports, no client sees an older version after a newer one."""

import random
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import psycopg2
import pytest
from falcon import testing
from psycopg2.extensions import connection as Connection  # noqa: N812

from ratesflow.api.resources.serializers import rates_json
from ratesflow.api.server.service import Service
from ratesflow.api.server.wsgi import get_app
from ratesflow.database import reference_change
from ratesflow.database.reference import Port, Reference
from ratesflow.database.region_rates import fit_tree
from ratesflow.database.versions import make_visible
from ratesflow.loader.freight.dataset import FreightPrices
from ratesflow.loader.tasks.compact import compact
from ratesflow.loader.tasks.undo import undo
from tests.api.seed import TREE, Price, Tree, averages, seed_batch
from tests.api.service import wait_until

FIRST, LAST = date(2021, 1, 30), date(2021, 2, 2)
LOCATIONS = ["CNGGZ", "CNSGH", "EETLL", "FIHEL", "china", "china_south", "baltic", "europe"]
LANES = [(orig, dest) for orig in LOCATIONS for dest in LOCATIONS if orig != dest]
SECONDS = 4.0
POLL_SECONDS = 0.2


class History:
    """The expected responses at each data version, computed from prices; the writer records each before it commits."""

    def __init__(self, version: int) -> None:
        self.prices: dict[str, list[Price]] = {}  # by batch
        self.tree = TREE
        self._responses: dict[tuple[int, str, str], bytes] = {}
        self._states = {version: (self.tree, [])}
        self.version = version

    def advance(self) -> None:
        """Record the state that becomes the next version."""
        self._states[self.version + 1] = (self.tree, [price for batch in self.prices.values() for price in batch])
        self.version += 1

    def response(self, version: int, orig: str, dest: str) -> bytes:
        """Return the response body at a version."""
        key = version, orig, dest
        if key not in self._responses:
            tree, prices = self._states[version]
            months: dict[date, tuple[list[int], list[int]]] = defaultdict(lambda: ([0] * 31, [0] * 31))
            for day, found in averages(prices, tree, orig, dest).items():
                counts, sums = months[day.replace(day=1)]
                counts[day.day - 1], sums[day.day - 1] = len(found), sum(found)
            self._responses[key] = rates_json(FIRST, LAST, _with_short_february(months))
        return self._responses[key]

    def first_version_with(self, body: bytes, orig: str, dest: str, floor: int) -> int | None:
        """Return the first version from `floor` on with this response."""
        return next((each for each in range(floor, self.version + 1) if self.response(each, orig, dest) == body), None)


def _with_short_february(months: dict[date, tuple[list[int], list[int]]]) -> dict[date, tuple[list[int], list[int]]]:
    february = months[date(2021, 2, 1)]
    return {**months, date(2021, 2, 1): (february[0][:28], february[1][:28])}


class Writer:
    """Makes random changes: commits, undos, compactions, moves of ports."""

    def __init__(self, connection: Connection, history: History, seed: int) -> None:
        self.connection, self.history, self.rng = connection, history, random.Random(seed)
        self._names: dict[str, int] = {}

    def step(self) -> None:
        """Make one change: usually a commit, sometimes an undo, a compaction or a move of a port."""
        kind = self.rng.choices(["commit", "undo", "compact", "port", "pause"], [10, 4, 2, 1, 4])[0]
        if kind == "commit":
            self.commit()
        elif kind == "undo" and self.history.prices:
            self.undo()
        elif kind == "compact":
            compact(self.connection, "run", dataset=FreightPrices())
        elif kind == "port":
            self.move_port()
        time.sleep(0.005)

    def commit(self) -> None:
        """Commit a batch of a few lanes between ports."""
        lanes = [self.rng.sample(list(TREE.ports), 2) for _ in range(self.rng.randint(1, 2))]
        rows = [
            Price(orig, dest, FIRST + timedelta(self.rng.randrange(4)), self.rng.randint(1, 999))
            for orig, dest in lanes
            for _ in range(4)
        ]
        number = seed_batch(self.connection, self.history.tree, rows)
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT batch_id, tree.version FROM batches, reference_version AS tree WHERE batch_no = %s", (number,)
            )
            ((name, counted_with),) = cursor.fetchall()
        if self.rng.random() < 0.1:  # loaded with one tree, committed with another
            self.move_port()
        self.history.prices[name] = rows
        self.history.advance()
        with self.connection, self.connection.cursor() as cursor:
            fit_tree(cursor, number, counted_with)
            cursor.execute("UPDATE batches SET state = 'committed', closed_at = now() WHERE batch_no = %s", (number,))
            make_visible(cursor, number)

    def undo(self) -> None:
        """Undo a batch."""
        name = self.rng.choice(list(self.history.prices))
        del self.history.prices[name]
        self.history.advance()
        undo(self.connection, "run", name, FreightPrices())

    def move_port(self) -> None:
        """Move a port to another region."""
        tree = self.history.tree
        port = self.rng.choice(list(tree.ports))
        region = self.rng.choice([each for each in tree.regions if each != tree.ports[port]])
        self.history.tree = Tree({**tree.ports, port: region}, tree.regions)
        self.history.advance()
        reference_change.load(self.connection, Reference({port: Port(port, f"Port of {port}", region)}, {}))


class Client:
    """Requests random lanes from one worker or several, with the ETag of its last response for the lane."""

    def __init__(self, workers: list[Service], history: History, seed: int) -> None:
        self.workers = [testing.TestClient(worker) for worker in workers]
        self.history, self.rng = history, random.Random(seed)
        self.floors: dict[tuple[str, str] | None, int] = defaultdict(lambda begin=history.version: begin)
        self.last: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.sent = self.not_modified = 0
        self.wrong: list[str] = []

    def send(self) -> None:
        """Send a request, and check that the response is not older than an earlier one."""
        orig, dest = lane = self.rng.choice(LANES)
        headers = {"If-None-Match": self.last[lane][0]} if lane in self.last else {}
        params = {"date_from": str(FIRST), "date_to": str(LAST), "orig_code": orig, "dest_code": dest}
        response = self.rng.choice(self.workers).simulate_get("/rates", params=params, headers=headers)
        self.sent += 1
        body = response.content
        if response.status_code == 304:
            self.not_modified += 1
            body = self.last[lane][1]
        elif response.status_code != 200:
            self.wrong.append(f"{lane}: {response.status} {response.text}")
            return
        if len(self.workers) > 1 or self.sent % 2:
            self.last[lane] = response.headers["ETag"], body
        thread = lane if len(self.workers) > 1 else None
        found = self.history.first_version_with(body, orig, dest, self.floors[thread])
        if found is None:
            self.wrong.append(f"{lane}: {response.status_code} equals no version since {self.floors[thread]}: {body!r}")
        else:
            self.floors[thread] = found


@pytest.fixture
def workers(reader_url: str) -> list[Service]:
    """Two workers that poll independently."""
    environ = {"DATABASE_URL": reader_url, "RATESFLOW_API_POLL_SECONDS": str(POLL_SECONDS)}
    return [get_app({**environ, "RATESFLOW_API_IDLE_SECONDS": "1"}) for _ in range(2)]


def run(owner_url: str, workers: list[Service], seed: int, seconds: float) -> tuple[History, list[Client]]:
    """Run the writer and the clients in threads for `seconds`; return the history and the clients."""
    connection = psycopg2.connect(owner_url)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT version FROM data_version")
        ((version,),) = cursor.fetchall()
    history = History(version)
    writer = Writer(connection, history, seed)
    clients = [Client(workers[:1], history, 1), Client(workers[1:], history, 2), Client(workers, history, 3)]
    until = time.monotonic() + seconds

    def repeat(step: Callable[[], None]) -> None:
        while time.monotonic() < until:
            step()

    with ThreadPoolExecutor(4) as threads:
        for ended in threads.map(repeat, [writer.step, *(each.send for each in clients)]):
            assert ended is None
    connection.close()
    return history, clients


def is_up_to_date(history: History, worker: Service) -> bool:
    """Return whether a worker has the newest version of every lane."""
    client = testing.TestClient(worker)
    return all(
        client.simulate_get(
            "/rates", params={"date_from": str(FIRST), "date_to": str(LAST), "orig_code": orig, "dest_code": dest}
        ).content
        == history.response(history.version, orig, dest)
        for orig, dest in LANES
    )


def test_versions_never_go_back(owner_url: str, workers: list[Service]) -> None:
    """No response is older than an earlier one to the same client; in the end all have the newest version."""
    history, clients = run(owner_url, workers, seed=6, seconds=SECONDS)
    assert [each.wrong for each in clients] == [[], [], []]
    assert all(each.sent > 100 for each in clients)
    assert clients[2].not_modified > 20
    assert history.version - clients[0].floors[None] < 60
    for worker in workers:
        wait_until(lambda worker=worker: is_up_to_date(history, worker), 5)
