"""For any input, the API returns an expected status as JSON and logs one line."""

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


def checked_response(client: testing.TestClient, path: str, query: str) -> Any:
    """Send a request, check what must hold for every response, and return its document."""
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
def test_any_query_gets_a_valid_response(client: testing.TestClient, query: list[tuple[str, str]]) -> None:
    """Any names and values, repeated or not, return rates or name the invalid parameters."""
    text = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query)
    checked_response(client, "/rates", text)


@given(raw=st.binary(max_size=60))
@settings(
    max_examples=150, deadline=None, database=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
def test_any_bytes_get_a_valid_response(client: testing.TestClient, raw: bytes) -> None:
    """Any bytes as a value, percent-encoded or raw, valid UTF-8 or not, get a valid response."""
    encoded = "".join(f"%{byte:02x}" for byte in raw)
    checked_response(client, "/rates", f"date_from=2021-01-01&date_to=2021-01-02&dest_code=EETLL&orig_code={encoded}")
    plain = "".join(chr(byte) for byte in raw if 0x20 < byte < 0x7F and byte != 0x23)
    checked_response(client, "/rates", f"x&{plain}&date_to=2021-01-02")


@pytest.mark.parametrize("name", GOOD)
def test_injections_are_invalid_values(client: testing.TestClient, owner: Connection, name: str) -> None:
    """SQL, headers, templates and log lines in a parameter are treated as invalid values and change nothing."""
    with owner.cursor() as cursor:
        cursor.execute("SELECT count(*), (SELECT version FROM data_version) FROM rates")
        before = cursor.fetchone()
        for attack in ATTACKS:
            value = quote(attack.encode("utf-8", "surrogatepass"), safe="")
            rest = "&".join(f"{other}={value_}" for other, value_ in GOOD.items() if other != name)
            document = checked_response(client, "/rates", f"{rest}&{name}={value}")
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
    """Send bytes and return the response."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as client:
        client.sendall(request)
        client.settimeout(1.0)
        found = b""
        with suppress(TimeoutError, ConnectionResetError):
            while b"\r\n\r\n" not in found and (data := client.recv(65_536)):
                found += data
        return found


def test_malformed_requests_cannot_inject_headers_or_log_lines(service: Service) -> None:
    """Malformed requests get no secrets, and cannot inject headers or log lines."""
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
    _, log = service.stop()
    for line in log.splitlines():
        assert isinstance(json.loads(line), dict), line
        assert json.loads(line)["level"] != "evil"


def test_access_log_has_one_line_per_request(reader_url: str) -> None:
    """In the access log, line ends and JSON in a path or user agent stay within their line."""
    service = Service(reader_url)
    service.start(RATESFLOW_API_ACCESS_LOG="1")
    for request in RAW[:6]:
        raw(service, request)
    _, log = service.stop()
    lines = [json.loads(line) for line in log.splitlines()]
    assert all(line["level"] in ("info", "warning", "error") for line in lines)
    logged = [line for line in lines if line["logger"] == "ratesflow.access" and "milliseconds" in line]
    assert len(logged) >= 6
