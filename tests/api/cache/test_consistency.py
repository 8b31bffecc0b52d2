"""While batches commit, are undone and merged and ports move, clients see one state after another, never one before."""

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
PLACES = ["CNGGZ", "CNSGH", "EETLL", "FIHEL", "china", "china_south", "baltic", "europe"]
LANES = [(orig, dest) for orig in PLACES for dest in PLACES if orig != dest]
SECONDS = 4.0
POLL_SECONDS = 0.2


class History:
    """What the answers are at each data version, counted plainly; written by one thread before it commits."""

    def __init__(self, version: int) -> None:
        self.prices: dict[str, list[Price]] = {}  # by batch
        self.tree = TREE
        self._known: dict[tuple[int, str, str], bytes] = {}
        self._states = {version: (self.tree, [])}
        self.version = version

    def move(self) -> None:
        """Note the state that becomes the next version."""
        self._states[self.version + 1] = (self.tree, [price for batch in self.prices.values() for price in batch])
        self.version += 1

    def answer(self, version: int, orig: str, dest: str) -> bytes:
        """Return the body of an answer as of a version."""
        key = version, orig, dest
        if key not in self._known:
            tree, prices = self._states[version]
            months: dict[date, tuple[list[int], list[int]]] = defaultdict(lambda: ([0] * 31, [0] * 31))
            for day, found in averages(prices, tree, orig, dest).items():
                counts, sums = months[day.replace(day=1)]
                counts[day.day - 1], sums[day.day - 1] = len(found), sum(found)
            self._known[key] = rates_json(FIRST, LAST, _cut(months))
        return self._known[key]

    def first_like(self, body: bytes, orig: str, dest: str, floor: int) -> int | None:
        """Return the first version from `floor` on that has this answer."""
        return next((each for each in range(floor, self.version + 1) if self.answer(each, orig, dest) == body), None)


def _cut(months: dict[date, tuple[list[int], list[int]]]) -> dict[date, tuple[list[int], list[int]]]:
    february = months[date(2021, 2, 1)]
    return {**months, date(2021, 2, 1): (february[0][:28], february[1][:28])}


class Writer:
    """Does what a day brings, at random."""

    def __init__(self, connection: Connection, history: History, seed: int) -> None:
        self.connection, self.history, self.dice = connection, history, random.Random(seed)
        self._names: dict[str, int] = {}

    def step(self) -> None:
        """Commit mostly; now and then undo, merge, or move a port."""
        kind = self.dice.choices(["commit", "undo", "compact", "port", "rest"], [10, 4, 2, 1, 4])[0]
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
        lanes = [self.dice.sample(list(TREE.ports), 2) for _ in range(self.dice.randint(1, 2))]
        rows = [
            Price(orig, dest, FIRST + timedelta(self.dice.randrange(4)), self.dice.randint(1, 999))
            for orig, dest in lanes
            for _ in range(4)
        ]
        number = seed_batch(self.connection, self.history.tree, rows)
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT batch_id, tree.version FROM batches, reference_version AS tree WHERE batch_no = %s", (number,)
            )
            ((name, counted_with),) = cursor.fetchall()
        if self.dice.random() < 0.1:  # loaded by one tree, committed by the next
            self.move_port()
        self.history.prices[name] = rows
        self.history.move()
        with self.connection, self.connection.cursor() as cursor:
            fit_tree(cursor, number, counted_with)
            cursor.execute("UPDATE batches SET state = 'committed', closed_at = now() WHERE batch_no = %s", (number,))
            make_visible(cursor, number)

    def undo(self) -> None:
        """Undo a batch."""
        name = self.dice.choice(list(self.history.prices))
        del self.history.prices[name]
        self.history.move()
        undo(self.connection, "run", name, FreightPrices())

    def move_port(self) -> None:
        """Put a port under another region."""
        tree = self.history.tree
        port = self.dice.choice(list(tree.ports))
        region = self.dice.choice([each for each in tree.regions if each != tree.ports[port]])
        self.history.tree = Tree({**tree.ports, port: region}, tree.regions)
        self.history.move()
        reference_change.load(self.connection, Reference({port: Port(port, f"Port of {port}", region)}, {}))


class Client:
    """Asks for lanes at random; of one worker, or of several with the ETag of what it has of each lane."""

    def __init__(self, workers: list[Service], history: History, seed: int) -> None:
        self.workers = [testing.TestClient(worker) for worker in workers]
        self.history, self.dice = history, random.Random(seed)
        self.floors: dict[tuple[str, str] | None, int] = defaultdict(lambda begin=history.version: begin)
        self.kept: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.asked = self.unchanged = 0
        self.wrong: list[str] = []

    def ask(self) -> None:
        """Ask once, and check that the answer is that of a version not before any seen."""
        orig, dest = lane = self.dice.choice(LANES)
        shown = {"If-None-Match": self.kept[lane][0]} if lane in self.kept else {}
        params = {"date_from": str(FIRST), "date_to": str(LAST), "orig_code": orig, "dest_code": dest}
        answer = self.dice.choice(self.workers).simulate_get("/rates", params=params, headers=shown)
        self.asked += 1
        body = answer.content
        if answer.status_code == 304:
            self.unchanged += 1
            body = self.kept[lane][1]
        elif answer.status_code != 200:
            self.wrong.append(f"{lane}: {answer.status} {answer.text}")
            return
        if len(self.workers) > 1 or self.asked % 2:
            self.kept[lane] = answer.headers["ETag"], body
        thread = lane if len(self.workers) > 1 else None
        found = self.history.first_like(body, orig, dest, self.floors[thread])
        if found is None:
            self.wrong.append(f"{lane}: {answer.status_code} is of no version since {self.floors[thread]}: {body!r}")
        else:
            self.floors[thread] = found


@pytest.fixture
def workers(reader_url: str) -> list[Service]:
    """Two workers, which poll one after the other."""
    environ = {"DATABASE_URL": reader_url, "RATESFLOW_API_POLL_SECONDS": str(POLL_SECONDS)}
    return [get_app({**environ, "RATESFLOW_API_IDLE_SECONDS": "1"}) for _ in range(2)]


def run(owner_url: str, workers: list[Service], seed: int, seconds: float) -> tuple[History, list[Client]]:
    """Write and ask for some time, each in a thread of its own; return what was."""
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
        for ended in threads.map(repeat, [writer.step, *(each.ask for each in clients)]):
            assert ended is None
    connection.close()
    return history, clients


def is_all_new(history: History, worker: Service) -> bool:
    """Return whether a worker answers for every lane as of the latest version."""
    client = testing.TestClient(worker)
    return all(
        client.simulate_get(
            "/rates", params={"date_from": str(FIRST), "date_to": str(LAST), "orig_code": orig, "dest_code": dest}
        ).content
        == history.answer(history.version, orig, dest)
        for orig, dest in LANES
    )


def test_one_state_after_another(owner_url: str, workers: list[Service]) -> None:
    """Each answer is that of a version not before any that the client has seen; in the end all are of the latest."""
    history, clients = run(owner_url, workers, seed=6, seconds=SECONDS)
    assert [each.wrong for each in clients] == [[], [], []]
    assert all(each.asked > 100 for each in clients)
    assert clients[2].unchanged > 20
    assert history.version - clients[0].floors[None] < 60
    for worker in workers:
        wait_until(lambda worker=worker: is_all_new(history, worker), 5)
