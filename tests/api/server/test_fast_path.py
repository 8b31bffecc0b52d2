"""What the service adds to every response: a request ID, CORS headers, a line in the log, metrics."""

import json
import logging
from typing import Any

import pytest
from falcon import testing

from ratesflow.api.server.cors import Cors
from ratesflow.api.server.metrics import Metrics, Reporter
from tests.api.service import uncached
from tests.api.stand_in import PARAMS, Database, get, service


def client_of(**options: Any) -> testing.TestClient:
    """Return a client of the service with these options."""
    return testing.TestClient(uncached(Database(), **options))


@pytest.mark.parametrize("path", ["/", "/rates", "/ports", "/docs", "/health/live", "/nothing", "/static/explorer.css"])
def test_every_response_has_a_request_id(path: str) -> None:
    """Each response, also an error, has its own request ID, or the one that the client sent."""
    client = client_of()
    first, second = client.simulate_get(path), client.simulate_get(path)
    assert first.headers["X-Request-Id"] != second.headers["X-Request-Id"]
    assert client.simulate_get(path, headers={"X-Request-Id": "abc-1"}).headers["X-Request-Id"] == "abc-1"


def test_cached_responses_have_their_own_request_id() -> None:
    """A cached response has the ID of its own request, not that of the first."""
    app = service(Database())
    get(app)
    assert get(app, X_Request_Id="abc-2").headers["X-Request-Id"] == "abc-2"
    assert get(app, X_Request_Id="abc-3").headers["X-Request-Id"] == "abc-3"


def test_other_origins_are_not_allowed() -> None:
    """By default no page of another origin may read a response."""
    response = client_of().simulate_get("/rates", params=PARAMS, headers={"Origin": "https://a.example"})
    assert not [name for name in response.headers if name.startswith("access-control")]
    assert response.headers["Vary"] == "Accept"


def test_listed_origins_are_allowed() -> None:
    """A listed origin may read responses and send preflight requests; others may not; caches distinguish origins."""
    client = client_of(cors=Cors(["https://a.example"]))
    for method in ("GET", "OPTIONS"):
        response = client.simulate_request(method, "/rates", params=PARAMS, headers={"Origin": "https://a.example"})
        assert response.headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert response.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
    stranger = client.simulate_get("/rates", params=PARAMS, headers={"Origin": "https://b.example"})
    assert "access-control-allow-origin" not in stranger.headers
    assert stranger.headers["Vary"] == "Accept, Origin"


def test_all_origins_are_allowed() -> None:
    """With *, every origin may read all responses, including errors, and a cached response is the same for all."""
    client = client_of(cors=Cors(["*"]))
    assert client.simulate_get("/rates").headers["Access-Control-Allow-Origin"] == "*"
    assert "origin" not in client.simulate_get("/rates", params=PARAMS).headers["Vary"].lower()


def test_csv() -> None:
    """A client that prefers text/csv gets the same days as CSV; one that accepts anything gets JSON."""
    client = client_of()
    table = client.simulate_get("/rates", params=PARAMS, headers={"Accept": "text/csv"})
    assert table.headers["Content-Type"].startswith("text/csv")
    assert table.headers["Vary"] == "Accept"
    assert table.text == "day,count,price\r\n2021-01-02,,\r\n2021-01-01,,\r\n"
    for accept in ("*/*", "application/json", "text/csv;q=0.1, application/json", "text/html,*/*;q=0.8", "nonsense"):
        response = client.simulate_get("/rates", params=PARAMS, headers={"Accept": accept})
        assert response.headers["Content-Type"] == "application/json", accept


def test_access_log(caplog: pytest.LogCaptureFixture) -> None:
    """The access log has the duration and the source of each response; it is off by default."""
    caplog.set_level(logging.INFO, "ratesflow.access")
    app = service(Database())
    get(app)
    assert not caplog.records
    app._access_log = True
    get(app, X_Request_Id="abc-4")
    get(app, "&other")
    get(app, If_None_Match=get(app).headers["ETag"])
    testing.TestClient(app).simulate_get("/nothing?a=b")
    logged = [(record.status, record.source) for record in caplog.records]  # type: ignore[attr-defined]
    assert logged == [(200, "hit"), (200, "miss"), (200, "hit"), (304, "not_modified"), (404, "none")]
    first, last = caplog.records[0], caplog.records[-1]
    assert (first.request_id, first.path) == ("abc-4", "/rates")  # type: ignore[attr-defined]
    assert 0 < first.milliseconds < 1000  # type: ignore[attr-defined]
    assert (last.method, last.path, last.query) == ("GET", "/nothing", "a=b")  # type: ignore[attr-defined]


def test_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    """A line of metrics has CloudWatch's embedded format, and counts the requests since the last line."""
    reporter = Reporter(Metrics(lambda: {"CacheEntries": 2}), seconds=60)
    client = client_of(reporter=reporter)
    for _ in range(150):
        client.simulate_get("/rates", params=PARAMS)
    client.simulate_get("/nothing")
    reporter.write()
    reporter.write()
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["Requests"], first["CacheMisses"], first["ClientErrors"], first["CacheEntries"]) == (151, 150, 1, 2)
    assert len(first["Latency"]) == 100
    assert max(first["Latency"]) <= first["SlowestLatency"]
    assert second["Requests"] == 0
    assert "Latency" not in second
    (directive,) = first["_aws"]["CloudWatchMetrics"]
    assert all(first[metric["Name"]] is not None for metric in directive["Metrics"])
    assert all(first[name] for names in directive["Dimensions"] for name in names)


def test_unavailable_is_counted_separately() -> None:
    """A 503 counts as unavailable, any other 5xx as an error of the server."""
    metrics = Metrics()
    for status in (200, 304, 404, 500, 503, 503):
        metrics.observe(0.001, status, "none")
    line = json.loads(metrics.line())
    assert (line["ClientErrors"], line["ServerErrors"], line["Unavailable"]) == (1, 1, 2)


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {}),
        ("", {"Accept": "text/csv"}),
        ("", {"If-None-Match": "*"}),
        ("&date_from=2021-01-03", {}),
        ("&date_to=2020-12-31", {}),
        ("&unknown=1", {"Origin": "https://example.com"}),
    ],
)
@pytest.mark.parametrize("fault", [None, "unavailable", "unreadable", "broken"])
def test_fast_path_sends_the_same_response(query: str, headers: dict[str, str], fault: str | None) -> None:
    """The fast path sends the same status, headers in the same order, and body, also for errors."""
    seen = []
    for fast_path in (True, False):
        database = Database()
        app = service(database, fast_path=fast_path)
        if fault == "broken":
            database.rates = lambda *_: 1 / 0  # type: ignore[assignment, return-value]
        elif fault:
            assert getattr(database, fault) is False
            setattr(database, fault, True)
        response = get(app, query, **{**headers, "X-Request-Id": "the-same"})
        again = get(app, query, **{**headers, "X-Request-Id": "the-same"})
        seen.append([(each.status, list(each.headers.items()), each.content) for each in (response, again)])
    assert seen[0] == seen[1]
