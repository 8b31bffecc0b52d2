"""Whatever a client sends, the API answers with a status of its own, as JSON, and logs one line."""

import json
import re
import socket
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest
from falcon import testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection  # noqa: N812

from tests.api.service import Service

GOOD = {"date_from": "2021-01-01", "date_to": "2021-01-02", "orig_code": "CNGGZ", "dest_code": "EETLL"}
ATTACKS = [
    "' OR '1'='1",
    "'; DROP TABLE rates;--",
    "CNGGZ' UNION SELECT batch_id FROM batches--",
    "CNGGZ\\'",
    "$$",
    "%s",
    "%(x)s",
    "{{7*7}}",
    "${7*7}",
    "<script>alert(1)</script>",
    "\r\nX-Evil: 1",
    '\n{"level":"info"}',
    "\x00",
    "\x1b[2J",
    "\u202e",
    "../../etc/passwd",
    "CNGGZ%00",
    "\ud7ff\ue000",
    "A" * 5000,
    "pg_sleep(5)",
    "1;SELECT pg_sleep(5)",
    "ＣＮＧＧＺ",
]
TEXT = st.one_of(st.sampled_from(ATTACKS), st.text(max_size=40), st.sampled_from(list(GOOD.values())))
NAMES = st.one_of(st.sampled_from([*GOOD, "date_From", "orig_code[]", "", "x"]), st.text(max_size=8))


def answered(client: testing.TestClient, path: str, query: str) -> Any:
    """Ask, and check what holds of every answer."""
    answer = client.simulate_get(path, query_string=query)
    assert answer.status_code in (200, 400, 404), f"{answer.status_code} for {query!r}"
    kind = answer.headers["content-type"]
    assert kind.startswith("application/json" if answer.status_code == 200 else "application/problem+json")
    assert not any("evil" in f"{name}{value}".lower() for name, value in answer.headers.items())
    document = answer.json
    if answer.status_code == 400:
        assert document["errors"]
        assert {fault["parameter"] for fault in document["errors"]} <= set(GOOD)
        assert len(document["detail"]) < 2000
    return document


@given(query=st.lists(st.tuples(NAMES, TEXT), max_size=7))
@settings(
    max_examples=150, deadline=None, database=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
def test_no_query_is_too_odd(client: testing.TestClient, query: list[tuple[str, str]]) -> None:
    """Any names and values, repeated or not, are answered with rates or with the parameters at fault."""
    text = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query)
    answered(client, "/rates", text)


@given(raw=st.binary(max_size=60))
@settings(
    max_examples=150, deadline=None, database=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
def test_no_bytes_are_too_odd(client: testing.TestClient, raw: bytes) -> None:
    """Any bytes for a value, percent-encoded or raw, valid UTF-8 or not."""
    encoded = "".join(f"%{byte:02x}" for byte in raw)
    answered(client, "/rates", f"date_from=2021-01-01&date_to=2021-01-02&dest_code=EETLL&orig_code={encoded}")
    plain = "".join(chr(byte) for byte in raw if 0x20 < byte < 0x7F and byte != 0x23)
    answered(client, "/rates", f"x&{plain}&date_to=2021-01-02")


@pytest.mark.parametrize("name", GOOD)
def test_injections_change_nothing_and_find_nothing(client: testing.TestClient, owner: Connection, name: str) -> None:
    """SQL, headers, templates and log lines in each parameter are values like any other: wrong ones."""
    with owner.cursor() as cursor:
        cursor.execute("SELECT count(*), (SELECT version FROM data_version) FROM rates")
        before = cursor.fetchone()
        for attack in ATTACKS:
            value = quote(attack.encode("utf-8", "surrogatepass"), safe="")
            rest = "&".join(f"{other}={value_}" for other, value_ in GOOD.items() if other != name)
            document = answered(client, "/rates", f"{rest}&{name}={value}")
            assert "rates" not in document
            assert "\x1b" not in document["detail"]
        cursor.execute("SELECT count(*), (SELECT version FROM data_version) FROM rates")
        assert cursor.fetchone() == before


RAW = [
    b"GET /rates?orig_code=%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /rates?%ff=%fe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /%0d%0aX-Evil:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b'GET /health/live HTTP/1.1\r\nHost: x\r\nX-Request-Id: a b"}\r\n\r\n',
    b'GET /nothing HTTP/1.1\r\nHost: x\r\nUser-Agent: \xff\xfe{"level":"evil"}\r\n\r\n',
    b"GET //evil.example/%2e%2e HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /rates HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /static/../../setup.cfg HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /static/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /rates?orig_code=" + b"A" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01",
    b"\r\n\r\n",
]


def raw(service: Service, request: bytes) -> bytes:
    """Send bytes and return what comes back before the server is silent."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as client:
        client.sendall(request)
        client.settimeout(1.0)
        found = b""
        with suppress(TimeoutError, ConnectionResetError):
            while b"\r\n\r\n" not in found and (data := client.recv(65_536)):
                found += data
        return found


def test_odd_requests_are_answered_and_logged_line_by_line(service: Service) -> None:
    """Bytes that are hardly HTTP get no secret, no header of their own and no line of their own in the log."""
    assert service.process is not None
    for request in RAW:
        found = raw(service, request)
        head = found.partition(b"\r\n\r\n")[0].lower()
        assert b"set-cookie" not in head
        assert b"x-evil" not in head
        assert not re.match(rb"http/1.1 5\d\d", head), (request[:60], head)
        assert b"root:" not in found
        assert b"[metadata]" not in found
        assert b"Traceback" not in found
    assert service.get("/health/live").status_code == 200
    _, said = service.stop()
    for line in said.splitlines():
        assert isinstance(json.loads(line), dict), line
        assert json.loads(line)["level"] != "evil"


def test_the_log_of_requests_keeps_one_line_a_request(reader_url: str) -> None:
    """With the log of requests on, a line end and JSON in a path or an agent stay inside their line."""
    service = Service(reader_url)
    service.start(RATESFLOW_API_ACCESS_LOG="1")
    for request in RAW[:6]:
        raw(service, request)
    _, said = service.stop()
    lines = [json.loads(line) for line in said.splitlines()]
    assert all(line["level"] in ("info", "warning", "error") for line in lines)
    logged = [line for line in lines if line["logger"] == "ratesflow.access" and "milliseconds" in line]
    assert len(logged) >= 6
