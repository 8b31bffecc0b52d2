"""The fast path and Falcon send the same bytes for the same raw requests, except Date and the request ID."""

import re
import socket
from collections.abc import Iterator
from itertools import product

import pytest

from tests.api.service import Service, wait_until

QUERY = "date_from=2016-01-01&date_to=2016-01-03&orig_code=CNSGH&dest_code=NLRTM"
QUERIES = [
    "",
    QUERY,
    QUERY.replace("&", "&&"),
    f"{QUERY}&",
    f"&{QUERY}",
    f"{QUERY}&unknown=1",
    f"{QUERY}&orig_code=CNSGH",
    f"{QUERY}&date_to=2016-01-04",
    QUERY.replace("2016-01-03", "2015-12-31"),
    QUERY.replace("2016-01-03", "2016-13-01"),
    QUERY.replace("2016-01-03", "9999-12-31"),
    QUERY.replace("2016-01-03", "tomorrow"),
    QUERY.replace("2016-01-03", ""),
    QUERY.replace("CNSGH", "cnsgh"),
    QUERY.replace("CNSGH", "XXXXX"),
    QUERY.replace("CNSGH", "CNSG"),
    QUERY.replace("CNSGH", "china_main"),
    QUERY.replace("CNSGH", "no_such_region"),
    QUERY.replace("CNSGH", "%43NSGH"),
    QUERY.replace("CNSGH", "CNSGH%20"),
    QUERY.replace("CNSGH", "+CNSGH"),
    QUERY.replace("CNSGH", "%C3%A9"),
    QUERY.replace("CNSGH", "%FF%FE"),
    QUERY.replace("CNSGH", "%00"),
    QUERY.replace("CNSGH", "%"),
    QUERY.replace("CNSGH", "%zz"),
    QUERY.replace("CNSGH", "é"),
    QUERY.replace("CNSGH", "CNSGH,CNSGH"),
    QUERY.replace("CNSGH", "A" * 3000),
    QUERY.replace("=", "%3D"),
    QUERY.replace("&", ";"),
    QUERY.partition("&dest")[0],
    "?",
    "orig_code",
    "=&=&=",
    f"{QUERY}&x=" + "y" * 6000,
]
METHODS = ["HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "get", "BREW"]
PATHS = ["/rates/", "//rates", "/RATES", "/rates%2F", "/%72ates", "/rates;a=b", "/rates/x", "/rate", "/../rates", "*"]
HEADERS = [
    "Accept: text/csv",
    "Accept: application/json",
    "Accept: text/csv;q=0.5, application/json;q=0.4",
    "Accept: text/csv;q=0",
    "Accept: text/csv;q=x",
    "Accept: text/html,*/*;q=0.8",
    "Accept: nonsense",
    "Accept:",
    "Accept: text/csv\r\nAccept: application/json",
    "Accept-Encoding: gzip, br",
    "Origin: https://a.example",
    "Range: bytes=0-10",
    "If-Match: *",
    "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
    "Cache-Control: no-cache",
    "Connection: close",
    "Content-Length: 0",
    "X-Forwarded-For: 1.2.3.4",
    "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
]
# TAG stands for the current ETag without quotes, OLD for one of an earlier version, NEW for one of a later version.
CONDITIONS = [
    '"TAG"', 'W/"TAG"', 'w/"TAG"', "TAG", "W/TAG", '"TAG', 'TAG"', '""TAG""', 'W/""TAG""', '"W/TAG"', '"TAG"x',
    ' "TAG" ', '"TAG",', ',"TAG"', '"TAG","TAG"', '"other", "TAG"', '"TAG", W/"other"', 'W/"other", W/"TAG"',
    '"other"', '""', '"', "W/", ",", ", ,", "*", '"*"', "*, *", '"TAG", *', '*, "TAG"', '"OLD"', '"NEW"',
    '"OLD", "TAG"', '"TAG-"', '"-TAG"', '"TAG TAG"', '"TÄG"', "'TAG'", '"TAG"\r\nIf-None-Match: "other"',
    '"other"\r\nIf-None-Match: "TAG"', "", " ", '"' + "x" * 4000 + '"', ", ".join(['"x"'] * 500 + ['"TAG"']),
]  # fmt: skip


@pytest.fixture(scope="module")
def both(reader_url: str) -> Iterator[tuple[Service, Service]]:
    """Start the service with the fast path, and without it."""
    services = Service(reader_url, workers=1), Service(reader_url, workers=1)
    for service, fast_path in zip(services, "10", strict=True):
        service.start(RATESFLOW_API_FAST_PATH=fast_path)
    # The first read also starts the poller; later responses have the version of its first poll.
    wait_until(lambda: len({_etag(service) for service in services}) == 1)
    yield services
    for service in services:
        service.stop()


def test_requests(both: tuple[Service, Service]) -> None:
    """Valid and invalid queries, methods, paths and headers get the same bytes, cached or not."""
    requests = [_request(f"/rates?{query}") for query in QUERIES]
    requests += [_request(f"/rates?{QUERIES[1]}", header) for header in HEADERS]
    requests += [_request("/rates?orig_code=1", header) for header in HEADERS]
    requests += [_request(f"{path}?{QUERY}") for path in PATHS]
    requests += [_request(f"/rates?{QUERY}", method=method) for method in METHODS]
    requests += [_request("/rates", method=method) for method in METHODS]
    assert len(requests) > 100
    _assert_equal(both, requests * 2)


def test_conditional_requests(both: tuple[Service, Service]) -> None:
    """Every form of If-None-Match gets the same bytes, for cached and uncached responses and for errors."""
    tag = _etag(both[0])
    assert tag == _etag(both[1])
    epoch, number, checksum = tag.rsplit("-", 2)
    old, new = f"{epoch}-0-{checksum}", f"{epoch}-{int(number) + 5}-{checksum}"
    conditions = [each.replace("TAG", tag).replace("OLD", old).replace("NEW", new) for each in CONDITIONS]
    requests = [_request(f"/rates?{QUERY}", f"If-None-Match: {each}") for each in conditions]
    for (number, each), query in product(enumerate(conditions), (f"{QUERY}&", "orig_code=1")):
        requests.append(_request(f"/rates?{query}{'&' * number}", f"If-None-Match: {each}"))
    for each, accept in product(conditions, ("text/csv", "*/*")):
        requests.append(_request(f"/rates?{QUERY}", f"If-None-Match: {each}\r\nAccept: {accept}"))
    requests += [_request(f"/rates?{QUERY}", f"If-None-Match: {each}", method="HEAD") for each in conditions]
    assert len(requests) > 200
    _assert_equal(both, requests)


@pytest.mark.parametrize("form", ['"TAG"', 'W/"TAG"'])
def test_quoted_etag_is_not_modified(both: tuple[Service, Service], form: str) -> None:
    """The current ETag in quotes gets a 304."""
    request = _request(f"/rates?{QUERY}", f"If-None-Match: {form.replace('TAG', _etag(both[0]))}")
    assert [_send(service, request).split(b"\r\n")[0] for service in both] == [b"HTTP/1.1 304 Not Modified"] * 2


@pytest.mark.parametrize("form", ['"TAG', '""TAG""'])
def test_etag_with_stray_quotes_does_not_match(both: tuple[Service, Service], form: str) -> None:
    """An ETag whose quotes do not match gets the whole response."""
    request = _request(f"/rates?{QUERY}", f"If-None-Match: {form.replace('TAG', _etag(both[0]))}")
    assert [_send(service, request).split(b"\r\n")[0] for service in both] == [b"HTTP/1.1 200 OK"] * 2


def test_connections(both: tuple[Service, Service]) -> None:
    """Several requests over one connection, pipelined or not, and malformed ones get the same bytes."""
    keep = [f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n" for path in (f"/rates?{QUERY}", "/rates", "/ports", "/no")]
    end = _request(f"/rates?{QUERY}")
    requests = ["".join(keep).encode() + end, "".join(keep[::-1] * 3).encode() + end]
    requests += [f"{first}{second}".encode() + end for first, second in product(keep, keep)]
    requests += [
        f"GET /rates?{QUERY} HTTP/1.0\r\n\r\n".encode(),
        f"GET http://a/rates?{QUERY} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode(),
        f"GET /rates?{QUERY}#fragment HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode(),
        f"GET /rates?{QUERY} HTTP/1.1\r\nConnection: close\r\n\r\n".encode(),
        f"GET /rates?{QUERY} HTTP/1.1\nHost: a\nConnection: close\n\n".encode(),
        f"GET  /rates?{QUERY} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode(),
        f"GET /rates?{QUERY} HTTP/9.9\r\nHost: a\r\nConnection: close\r\n\r\n".encode(),
        b"nonsense\r\n\r\n",
    ]
    _assert_equal(both, requests)


def _request(target: str, header: str = "", *, method: str = "GET") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: a", "Connection: close", *([header] if header else [])]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def _etag(service: Service) -> str:
    return service.get(f"/rates?{QUERY}").headers["ETag"].strip('"')


def _assert_equal(both: tuple[Service, Service], requests: list[bytes]) -> None:
    different = [
        (request[:300], *responses)
        for request in requests
        if len(set(responses := [_send(service, request) for service in both])) > 1
    ]
    assert not different, f"{len(different)} of {len(requests)} differ; the first: {different[0]}"


def _send(service: Service, request: bytes) -> bytes:
    """Return everything that the server sends, without Date and request IDs."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(request)
        received = b""
        try:
            while data := connection.recv(65_536):
                received += data
        except ConnectionResetError:
            pass
    return re.sub(rb"(?im)^(date|x-request-id): .*\r\n", b"", received)
