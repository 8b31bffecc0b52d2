"""Host names of the database are resolved with a timeout, so that libpq resolves none."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from ratesflow.api.models.errors import DatabaseUnavailableError
from ratesflow.api.postgres.addresses import Addresses, UnknownHostError
from ratesflow.api.postgres.pool import ConnectionPool


@pytest.fixture
def hanging_lookups(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A name server that does not respond; the fixture returns the names that are looked up."""
    looked_up: list[str] = []
    released = threading.Event()

    def look_up(name: str, *_: object, **__: object) -> list[object]:
        looked_up.append(name)
        released.wait(10)
        raise socket.gaierror("no response")

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    yield looked_up
    released.set()


def test_hanging_name_server_times_out(hanging_lookups: list[str]) -> None:
    """A lookup that times out counts as an unavailable database, and concurrent lookups are shared."""
    connections = ConnectionPool("postgresql://x@db.example/x", "SELECT 1", size=4)
    began = time.monotonic()
    waiting = [threading.Thread(target=_fails, args=(connections,)) for _ in range(4)]
    for each in waiting:
        each.start()
    for each in waiting:
        each.join()
    assert time.monotonic() - began < 1
    assert hanging_lookups == ["db.example"]


def _fails(connections: ConnectionPool) -> None:
    with pytest.raises(DatabaseUnavailableError, match=r"db\.example was not resolved in time"):
        connections.fetch("SELECT 1", seconds=0.3)


def test_all_addresses_of_all_names_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """libpq gets every address of every name, with name and port; IP addresses are left unchanged."""
    records = {"one": ["10.0.0.1", "fd00::1", "10.0.0.1"], "two": ["10.0.0.2"]}
    monkeypatch.setattr(
        "socket.getaddrinfo", lambda name, *_, **__: [(0, 0, 0, "", (address, 0)) for address in records[name]]
    )
    found = Addresses().settings("host=one,10.9.9.9,two port=1,2,3", time.monotonic() + 1)
    assert found == {"host": "one,one,10.9.9.9,two", "hostaddr": "10.0.0.1,fd00::1,,10.0.0.2", "port": "1,1,2,3"}
    records["two"] = ["10.0.0.3"]
    assert Addresses().settings("postgresql://u:p@two/x", time.monotonic() + 1)["hostaddr"] == "10.0.0.3"


@pytest.mark.parametrize(
    "url", ["host=/var/run port=1", "postgresql://u@[::1]:5/x", "dbname=x", "host=db.example hostaddr=10.0.0.1"]
)
def test_addresses_are_not_looked_up(url: str) -> None:
    """IP addresses, sockets and an explicit hostaddr are left unchanged."""
    assert Addresses().settings(url, time.monotonic()) == {}


def test_unknown_name() -> None:
    """A name that cannot be resolved raises an error at once."""
    with pytest.raises(UnknownHostError, match=r"no\.such\.invalid cannot be resolved"):
        Addresses().settings("host=no.such.invalid", time.monotonic() + 5)


def test_connects_by_name(reader_url: str) -> None:
    """A database can be reached by its host name."""
    connections = ConnectionPool(reader_url.replace("127.0.0.1", "localhost"), "SELECT 1")
    assert connections.fetch("SELECT 1", seconds=5) == [(1,)]
    connections.close()
