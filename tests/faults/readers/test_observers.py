"""The proxies of the campaigns inject failures, and their readers detect partial and missing batches."""

import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import psycopg2
import pytest

from ratesflow.loader.tasks.commit import commit
from ratesflow.loader.tasks.load import load
from ratesflow.loader.tasks.validate import validate
from tests.faults.campaign.contents import Content
from tests.faults.campaign.invariants import LEFTOVERS
from tests.faults.readers.proxies import FaultyS3, Wire
from tests.faults.readers.readers import SqlReader, visible_sums
from tests.faults.readers.snapshots import RATES
from tests.loader.conftest import TaskHarness
from tests.waiting import wait_for


class _Echo(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 1000)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    """A server that returns 1000 bytes for each request."""
    server = HTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def get(port: int) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/")
    response = connection.getresponse()
    try:
        return response.status, response.read()
    finally:
        connection.close()


def test_faulty_s3_injects_failures(server: HTTPServer) -> None:
    """The proxy forwards responses, returns 500 and 503 itself, or truncates bodies."""
    proxy = FaultyS3(f"http://127.0.0.1:{server.server_port}", seed=1)
    port = proxy.server_address[1]
    assert get(port) == (200, b"x" * 1000)
    with proxy.failures(errors=1.0):
        assert {get(port)[0] for _ in range(4)} == {500, 503}
    with proxy.failures(cuts=1.0), pytest.raises(http.client.IncompleteRead):
        get(port)
    assert get(port) == (200, b"x" * 1000)
    assert (proxy.errors, proxy.cuts) == (4, 1)
    proxy.stop()


def test_wire_stalls_delays_and_resets() -> None:
    """Bytes are held back during a stall and forwarded afterwards; a cut resets the connection."""
    near, far = socket.create_server(("127.0.0.1", 0)), []
    threading.Thread(target=lambda: far.append(near.accept()[0]), daemon=True).start()
    wire = Wire(near.getsockname()[1])
    client = socket.create_connection(("127.0.0.1", wire.port))
    client.sendall(b"one")
    while not far:
        time.sleep(0.01)
    assert far[0].recv(10) == b"one"
    wire.stall()
    client.sendall(b"two")
    far[0].settimeout(0.3)
    with pytest.raises(TimeoutError):
        far[0].recv(10)
    wire.delay_seconds = 0.0
    wire.flow()
    far[0].settimeout(5)
    assert far[0].recv(10) == b"two"
    assert wire.cut() == 1
    client.settimeout(5)
    with pytest.raises(ConnectionResetError):
        client.recv(10)
    wire.close()
    near.close()


def test_reader_detects_whole_partial_and_missing_batches(harness18: TaskHarness) -> None:
    """A reader finds a batch whole after its commit, and reports a missing lane and a missing batch."""
    content = Content(3, rows=60)
    batch = harness18.send(content.data)
    reader = SqlReader("primary", harness18.database.url, lambda _: content, seed=1)
    harness18.run(validate, batch)
    harness18.run(load, batch)
    reader.read(content)
    harness18.run(commit, batch)
    reader.read(content)
    assert (reader.reads, reader.violations) == ({"none": 1, "whole": 1, "snapshots": 2}, [])
    lane = random.Random(1).choice(sorted(content.port_sums))
    harness18.database.query("DELETE FROM rates WHERE orig_code = %s AND dest_code = %s", *lane)
    reader.read(content)
    harness18.database.query("DELETE FROM rates")
    reader.read(content)
    words = [violation.split(":")[1].split()[0] for violation in reader.violations]
    assert [word for word in words if word != "regions"] == ["part", "content"]
    reader._connection.close()


def test_recount_and_leftovers_detect_violations(harness18: TaskHarness) -> None:
    """The recounted rates are those of the file; a leftover table, hidden rates and a lock are listed."""
    content = Content(4, rows=60)
    batch = harness18.send(content.data)
    for task in (validate, load):
        harness18.run(task, batch)
    number = harness18.database.one("SELECT batch_no FROM batches")
    left = {f"table staging_{number}", f"rates of batch {number}", f"hidden rates of {number}"}
    # A session of a task may end some time after the task.
    wait_for(lambda: {what for (what,) in harness18.database.query(LEFTOVERS)} == left)
    harness18.run(commit, batch)
    wait_for(lambda: harness18.database.query(LEFTOVERS) == [])
    expected = {(*lane, content.day): sums for lane, sums in content.sums.items()}
    found = {(orig, dest, day): (count, total) for orig, dest, day, count, total in harness18.database.query(RATES)}
    assert found == expected
    holder = psycopg2.connect(harness18.database.url)
    with holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(7)")
        assert visible_sums(cursor, content) == content.port_sums
    holder.commit()
    assert [what for (what,) in harness18.database.query(LEFTOVERS)] == ["lock advisory ExclusiveLock"]
    holder.close()


def test_contents_are_deterministic() -> None:
    """Contents have different days, and the same number has the same bytes and sums in every process."""
    assert Content(1).day != Content(2).day
    assert json.loads(Content(5, rows=3, kind="jsonl").data.splitlines()[0])["day"] == "2010-01-06"
    assert Content(7).etag == Content(7).etag == "3eb49e7b691c2b9ffae6b31882712dd1"
    assert sum(count for (orig, _), (count, _) in Content(7).sums.items() if orig.isupper()) == 240
