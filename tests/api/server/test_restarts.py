"""Workers are replaced under load without losing a request."""

import http.client
import os
import signal
import threading
import time
from collections import Counter
from datetime import date

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from tests.api.seed import TREE, Price, open_batch, seed_batch
from tests.api.service import Service, wait_until

PATH = "/rates?date_from=2021-01-01&date_to=2021-01-31&orig_code=CNGGZ&dest_code=EETLL"


class Load:
    """Clients that send requests continuously, each over one connection as long as the server keeps it open."""

    def __init__(self, port: int, clients: int) -> None:
        self.port = port
        self.outcomes: Counter[str] = Counter()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self._stop.is_set():
            try:
                connection.request("GET", f"{PATH}&{number}")
                response = connection.getresponse()
                response.read()
                self.outcomes[str(response.status)] += 1
            except (OSError, http.client.HTTPException) as error:
                self.outcomes[repr(error)] += 1
                connection.close()


@pytest.fixture(autouse=True)
def rates(owner: Connection) -> None:
    rows = [Price("CNGGZ", "EETLL", date(2021, 1, day), 100) for day in (1, 1, 1, 2)]
    open_batch(owner, seed_batch(owner, TREE, rows, staged=False))


def test_reload_under_load(service: Service) -> None:
    """SIGHUP replaces every worker, and no request fails."""
    before = service.worker_pids()
    assert service.process is not None
    with Load(service.port, 12) as load:
        time.sleep(0.3)
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(service.worker_pids()) == 2 and not set(before) & set(service.worker_pids()), 25)
        time.sleep(0.3)
    assert load.outcomes.keys() == {"200"}
    assert load.outcomes["200"] > 500


def test_idle_connections_are_closed_in_order_on_reload(service: Service) -> None:
    """While a worker drains, an idle connection still gets a response, with Connection: close."""
    clients = [http.client.HTTPConnection("127.0.0.1", service.port, timeout=10) for _ in range(8)]
    for client in clients:
        client.request("GET", "/health/live")
        client.getresponse().read()
    for pid in service.worker_pids():
        os.kill(pid, signal.SIGUSR1)
    time.sleep(0.2)
    for client in clients:
        client.request("GET", PATH)
        response = client.getresponse()
        assert response.status == 200
        assert response.getheader("Connection") == "close"


def test_queued_connections_survive_a_killed_worker(service: Service) -> None:
    """Connections that are queued when a worker is killed are served by its replacement."""
    pids = service.worker_pids()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(0.2)
    clients = [http.client.HTTPConnection("127.0.0.1", service.port, timeout=10) for _ in range(8)]
    for client in clients:
        client.request("GET", "/health/live")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert {client.getresponse().status for client in clients} == {200}
