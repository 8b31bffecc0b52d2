"""What a client is told when a request cannot be answered; no database takes part."""

import pytest
from falcon import testing

from ratesflow.api.models.errors import DatabaseUnavailableError, OverloadedError
from ratesflow.api.models.rates import Rates, RatesQuery, ReferenceData
from ratesflow.api.models.versions import Version
from tests.api.service import uncached

GOOD = {"date_from": "2021-01-01", "date_to": "2021-01-02", "orig_code": "CNGGZ", "dest_code": "baltic"}


class Reader:
    """Knows CNGGZ and baltic and no rates, or raises what it is told to."""

    error: Exception | None = None

    def rates(self, query: RatesQuery, deadline: float) -> Rates:
        """Answer without rates."""
        if self.error:
            raise self.error
        at = Version("e", 7)
        return Rates(at, at, query.orig.text == "CNGGZ", query.dest.text == "baltic", {})

    def reference_data(self, deadline: float) -> ReferenceData:
        """Know none by name."""
        return ReferenceData(Version("e", 7), Version("e", 7), (), ())

    def similar(self, text: str, deadline: float) -> list[str]:
        """Recognise one slip."""
        return ["CNGGZ (Guangzhou)"] if text == "cnggz" else []

    def check(self) -> None:
        """Live, unless told otherwise."""
        if self.error:
            raise self.error


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def client(reader: Reader) -> testing.TestClient:
    return testing.TestClient(uncached(reader))


def problem(answer: testing.Result) -> dict[str, object]:
    """Return the problem document of an answer, after checks that hold for every one."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    document = answer.json
    assert document["status"] == answer.status_code
    assert {"type", "title", "detail"} <= document.keys()
    return document


@pytest.mark.parametrize(
    ("changes", "parameter", "says"),
    [
        ({"date_from": None}, "date_from", "missing"),
        ({"dest_code": None}, "dest_code", "missing"),
        ({"orig_code": ""}, "orig_code", "missing"),
        ({"date_from": "2021-1-01"}, "date_from", "YYYY-MM-DD"),
        ({"date_from": "20210101"}, "date_from", "YYYY-MM-DD"),
        ({"date_from": "2021-W01-1"}, "date_from", "YYYY-MM-DD"),
        ({"date_from": "２０２１-01-01"}, "date_from", "YYYY-MM-DD"),
        ({"date_from": "2021-01-01T00:00"}, "date_from", "YYYY-MM-DD"),
        ({"date_from": " 2021-01-01"}, "date_from", "YYYY-MM-DD"),
        ({"date_to": "2021-02-29"}, "date_to", "calendar"),
        ({"date_from": "0000-01-01"}, "date_from", "0001"),
        ({"date_from": "2021-01-03"}, "date_to", "swap"),
        ({"date_to": "2031-01-09"}, "date_to", "3,661 days"),
        ({"orig_code": ["CNGGZ", "CNGGZ"]}, "orig_code", "2 times"),
    ],
)
def test_bad_parameter(client: testing.TestClient, changes: dict[str, object], parameter: str, says: str) -> None:
    """A request that is not right is answered with 400 and the name of the parameter at fault."""
    params = {name: value for name, value in (GOOD | changes).items() if value is not None}
    answer = client.simulate_get("/rates", params=params, params_csv=False)
    document = problem(answer)
    assert answer.status_code == 400
    assert document["parameter"] == parameter
    assert says in str(document["detail"])
    assert document["errors"] == [{"parameter": parameter, "detail": document["detail"]}]


def test_all_faults_at_once(client: testing.TestClient) -> None:
    """Every parameter at fault is named in one answer, and a misspelt one is recognised."""
    answer = client.simulate_get("/rates", params={"date_from": "x", "date_to": "2021-01-01", "origin": "CNGGZ"})
    errors = problem(answer)["errors"]
    assert [error["parameter"] for error in errors] == ["date_from", "orig_code", "dest_code"]  # type: ignore
    assert "'origin'" in errors[1]["detail"]  # type: ignore[index]


def test_widest_range(client: testing.TestClient) -> None:
    """3,660 days are answered, each of them, newest first; other parameters are ignored."""
    answer = client.simulate_get("/rates", params=GOOD | {"date_to": "2031-01-08", "utm_source": "x"})
    assert answer.status_code == 200
    assert len(answer.json["rates"]) == 3660
    assert answer.json["rates"][0] == {"count": None, "day": "2031-01-08", "price": None}
    assert answer.json["rates"][-1]["day"] == "2021-01-01"


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_ends_of_the_calendar(client: testing.TestClient, day: str) -> None:
    """The first and the last day that dates can have are answered."""
    answer = client.simulate_get("/rates", params=GOOD | {"date_from": day, "date_to": day})
    assert answer.json == {"rates": [{"count": None, "day": day, "price": None}]}


@pytest.mark.parametrize("code", ["XXXXX", "no_such", "Guangzhou", "CNGGZ ", "a\0b", "x" * 5000, "%", "'; --", "É"])
def test_unknown_location(client: testing.TestClient, code: str) -> None:
    """A location that is not known is answered with 404 that names the parameter."""
    answer = client.simulate_get("/rates", params=GOOD | {"orig_code": code})
    assert answer.status_code == 404
    assert problem(answer)["parameter"] == "orig_code"
    assert len(str(answer.json["detail"])) < 500


def test_alike(client: testing.TestClient) -> None:
    """A location that is nearly right is answered with what may have been meant; both are named if both are wrong."""
    answer = client.simulate_get("/rates", params=GOOD | {"orig_code": "cnggz", "dest_code": "BALTI"})
    assert answer.status_code == 404
    first, second = problem(answer)["errors"]  # type: ignore[misc]
    assert "CNGGZ (Guangzhou)" in first["detail"]
    assert second["parameter"] == "dest_code"


def test_other_methods(client: testing.TestClient) -> None:
    """A method that is not supported is answered with 405 and those that are; HEAD and OPTIONS work."""
    answer = client.simulate_post("/rates")
    assert answer.status_code == 405
    assert problem(answer)["title"] == "Method Not Allowed"
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    head = client.simulate_head("/rates", params=GOOD)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(client.simulate_get("/rates", params=GOOD).content))
    assert client.simulate_options("/rates").headers["Allow"] == "GET, HEAD"


def test_nothing_there(client: testing.TestClient) -> None:
    """A path that does not exist is answered with 404, and where to start."""
    answer = client.simulate_get("/rate")
    assert answer.status_code == 404
    assert "/docs" in str(problem(answer)["detail"])


def test_home(client: testing.TestClient) -> None:
    """The first page tells a stranger what to ask."""
    assert "GET /rates" in client.simulate_get("/").json["message"]


@pytest.mark.parametrize("error", [DatabaseUnavailableError("host db1 refused"), OverloadedError("busy")])
def test_database_away(client: testing.TestClient, reader: Reader, error: Exception) -> None:
    """While the database is away, or busy, the answer is 503 with Retry-After; the process lives on."""
    reader.error = error
    answer = client.simulate_get("/rates", params=GOOD)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "db1" not in str(problem(answer))
    assert client.simulate_get("/health/live").status_code == 200


def test_ready(client: testing.TestClient, reader: Reader) -> None:
    """The service is ready while it reaches the database, however busy, and not while it does not."""
    assert client.simulate_get("/health/ready").json == {"status": "ready"}
    reader.error = OverloadedError("busy")
    assert client.simulate_get("/health/ready").json == {"status": "busy"}
    reader.error = DatabaseUnavailableError("refused")
    assert client.simulate_get("/health/ready").status_code == 503


def test_started(client: testing.TestClient, reader: Reader) -> None:
    """The service has started once it has reached the database, and from then on without asking it."""
    for error in (DatabaseUnavailableError("password authentication failed"), OverloadedError("busy")):
        reader.error = error
        answer = client.simulate_get("/health/started")
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
    reader.error = None
    assert client.simulate_get("/health/started").json == {"status": "started"}
    reader.error = DatabaseUnavailableError("refused")
    assert client.simulate_get("/health/started").status_code == 200
    assert client.simulate_get("/health/ready").status_code == 503


def test_unexpected_error(client: testing.TestClient, reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    """An error of ours shows nothing but a number, under which the log holds everything."""
    reader.error = RuntimeError("secret of the house")
    answer = client.simulate_get("/rates", params=GOOD, headers={"X-Request-Id": "abc-1"})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "abc-1" in str(problem(answer)["detail"])
    assert answer.headers["X-Request-Id"] == "abc-1"
    assert caplog.records[-1].request_id == "abc-1"  # type: ignore[attr-defined]
    assert "secret of the house" in caplog.text


def test_request_id_is_ours_when_theirs_is_odd(client: testing.TestClient, reader: Reader) -> None:
    """What a client sends as number of the request is not copied into logs unless it looks like one."""
    reader.error = RuntimeError()
    answer = client.simulate_get("/rates", params=GOOD, headers={"X-Request-Id": 'x" onload="'})
    assert answer.headers["X-Request-Id"].isalnum()


def test_not_modified(client: testing.TestClient) -> None:
    """A client that has the answer of this data version is told so; one that has another gets the answer."""
    etag = client.simulate_get("/rates", params=GOOD).headers["ETag"]
    for sent in (etag, f"W/{etag}", f'"old", {etag}', "*"):
        answer = client.simulate_get("/rates", params=GOOD, headers={"If-None-Match": sent})
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", etag)
    for sent in ('"old"', "nonsense", ""):
        assert client.simulate_get("/rates", params=GOOD, headers={"If-None-Match": sent}).status_code == 200
