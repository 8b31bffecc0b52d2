"""Error responses of the API, without a database."""

import pytest
from falcon import testing

from ratesflow.api.models.errors import DatabaseUnavailableError, OverloadedError
from ratesflow.api.models.rates import Rates, RatesQuery, ReferenceData
from ratesflow.api.models.versions import Version
from tests.api.service import uncached

GOOD = {"date_from": "2021-01-01", "date_to": "2021-01-02", "orig_code": "CNGGZ", "dest_code": "baltic"}


class Reader:
    """A reader that knows CNGGZ, baltic and no rates, or raises `error`."""

    error: Exception | None = None

    def rates(self, query: RatesQuery, deadline: float) -> Rates:
        """Return no rates."""
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
        """Raise `error`, if any."""
        if self.error:
            raise self.error


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def client(reader: Reader) -> testing.TestClient:
    return testing.TestClient(uncached(reader))


def problem(answer: testing.Result) -> dict[str, object]:
    """Return the problem document of a response, after checks that apply to all."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    document = answer.json
    assert document["status"] == answer.status_code
    assert {"type", "title", "detail"} <= document.keys()
    return document


@pytest.mark.parametrize(
    ("changes", "parameter", "message"),
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
def test_bad_parameter(client: testing.TestClient, changes: dict[str, object], parameter: str, message: str) -> None:
    """An invalid request returns 400 and the name of the invalid parameter."""
    params = {name: value for name, value in (GOOD | changes).items() if value is not None}
    answer = client.simulate_get("/rates", params=params, params_csv=False)
    document = problem(answer)
    assert answer.status_code == 400
    assert document["parameter"] == parameter
    assert message in str(document["detail"])
    assert document["errors"] == [{"parameter": parameter, "detail": document["detail"]}]


def test_all_faults_at_once(client: testing.TestClient) -> None:
    """One response names every invalid parameter, and recognizes a misspelled one."""
    answer = client.simulate_get("/rates", params={"date_from": "x", "date_to": "2021-01-01", "origin": "CNGGZ"})
    errors = problem(answer)["errors"]
    assert [error["parameter"] for error in errors] == ["date_from", "orig_code", "dest_code"]  # type: ignore
    assert "'origin'" in errors[1]["detail"]  # type: ignore[index]


def test_widest_range(client: testing.TestClient) -> None:
    """A range of 3,660 days is allowed and returned newest first; unknown parameters are ignored."""
    answer = client.simulate_get("/rates", params=GOOD | {"date_to": "2031-01-08", "utm_source": "x"})
    assert answer.status_code == 200
    assert len(answer.json["rates"]) == 3660
    assert answer.json["rates"][0] == {"count": None, "day": "2031-01-08", "price": None}
    assert answer.json["rates"][-1]["day"] == "2021-01-01"


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_ends_of_the_calendar(client: testing.TestClient, day: str) -> None:
    """The first and the last possible date are accepted."""
    answer = client.simulate_get("/rates", params=GOOD | {"date_from": day, "date_to": day})
    assert answer.json == {"rates": [{"count": None, "day": day, "price": None}]}


@pytest.mark.parametrize("code", ["XXXXX", "no_such", "Guangzhou", "CNGGZ ", "a\0b", "x" * 5000, "%", "'; --", "É"])
def test_unknown_location(client: testing.TestClient, code: str) -> None:
    """An unknown location returns 404 with the name of the parameter."""
    answer = client.simulate_get("/rates", params=GOOD | {"orig_code": code})
    assert answer.status_code == 404
    assert problem(answer)["parameter"] == "orig_code"
    assert len(str(answer.json["detail"])) < 500


def test_similar_locations_are_suggested(client: testing.TestClient) -> None:
    """A misspelled location returns suggestions; both parameters are named if both are unknown."""
    answer = client.simulate_get("/rates", params=GOOD | {"orig_code": "cnggz", "dest_code": "BALTI"})
    assert answer.status_code == 404
    first, second = problem(answer)["errors"]  # type: ignore[misc]
    assert "CNGGZ (Guangzhou)" in first["detail"]
    assert second["parameter"] == "dest_code"


def test_other_methods(client: testing.TestClient) -> None:
    """An unsupported method returns 405 with the allowed ones; HEAD and OPTIONS work."""
    answer = client.simulate_post("/rates")
    assert answer.status_code == 405
    assert problem(answer)["title"] == "Method Not Allowed"
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    head = client.simulate_head("/rates", params=GOOD)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(client.simulate_get("/rates", params=GOOD).content))
    assert client.simulate_options("/rates").headers["Allow"] == "GET, HEAD"


def test_unknown_path(client: testing.TestClient) -> None:
    """An unknown path returns 404 with a link to the documentation."""
    answer = client.simulate_get("/rate")
    assert answer.status_code == 404
    assert "/docs" in str(problem(answer)["detail"])


def test_home(client: testing.TestClient) -> None:
    """The root path names the main request."""
    assert "GET /rates" in client.simulate_get("/").json["message"]


@pytest.mark.parametrize("error", [DatabaseUnavailableError("host db1 refused"), OverloadedError("busy")])
def test_unavailable_database(client: testing.TestClient, reader: Reader, error: Exception) -> None:
    """While the database is unavailable or busy, the response is 503 with Retry-After, and the process stays live."""
    reader.error = error
    answer = client.simulate_get("/rates", params=GOOD)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "db1" not in str(problem(answer))
    assert client.simulate_get("/health/live").status_code == 200


def test_ready(client: testing.TestClient, reader: Reader) -> None:
    """The service is ready while it reaches the database, even if busy, and not ready otherwise."""
    assert client.simulate_get("/health/ready").json == {"status": "ready"}
    reader.error = OverloadedError("busy")
    assert client.simulate_get("/health/ready").json == {"status": "busy"}
    reader.error = DatabaseUnavailableError("refused")
    assert client.simulate_get("/health/ready").status_code == 503


def test_started(client: testing.TestClient, reader: Reader) -> None:
    """The service reports started once it has reached the database, and from then on without querying it."""
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
    """An internal error shows only the request id, under which the log has the details."""
    reader.error = RuntimeError("internal detail")
    answer = client.simulate_get("/rates", params=GOOD, headers={"X-Request-Id": "abc-1"})
    assert answer.status_code == 500
    assert "internal detail" not in answer.text
    assert "abc-1" in str(problem(answer)["detail"])
    assert answer.headers["X-Request-Id"] == "abc-1"
    assert caplog.records[-1].request_id == "abc-1"  # type: ignore[attr-defined]
    assert "internal detail" in caplog.text


def test_invalid_request_id_is_replaced(client: testing.TestClient, reader: Reader) -> None:
    """A client's request id is replaced unless it has a valid format."""
    reader.error = RuntimeError()
    answer = client.simulate_get("/rates", params=GOOD, headers={"X-Request-Id": 'x" onload="'})
    assert answer.headers["X-Request-Id"].isalnum()


def test_not_modified(client: testing.TestClient) -> None:
    """A request with the current ETag gets 304; one with another ETag gets the full response."""
    etag = client.simulate_get("/rates", params=GOOD).headers["ETag"]
    for sent in (etag, f"W/{etag}", f'"old", {etag}', "*"):
        answer = client.simulate_get("/rates", params=GOOD, headers={"If-None-Match": sent})
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", etag)
    for sent in ('"old"', "nonsense", ""):
        assert client.simulate_get("/rates", params=GOOD, headers={"If-None-Match": sent}).status_code == 200
