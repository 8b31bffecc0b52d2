"""Error responses of the API, without a database."""

import pytest
from falcon import testing

from ratesflow.api.models.errors import DatabaseUnavailableError, OverloadedError
from ratesflow.api.models.rates import Rates, RatesQuery, ReferenceData
from ratesflow.api.models.versions import Version
from tests.api.service import uncached

VALID = {"date_from": "2021-01-01", "date_to": "2021-01-02", "orig_code": "CNGGZ", "dest_code": "baltic"}


class Reader:
    """A reader with the locations CNGGZ and baltic and no rates, which raises `error` if set."""

    error: Exception | None = None

    def rates(self, query: RatesQuery, deadline: float) -> Rates:
        """Return no rates."""
        if self.error:
            raise self.error
        at = Version("e", 7)
        return Rates(at, at, query.orig.text == "CNGGZ", query.dest.text == "baltic", {})

    def reference_data(self, deadline: float) -> ReferenceData:
        """Return no ports and regions."""
        return ReferenceData(Version("e", 7), Version("e", 7), (), ())

    def similar(self, text: str, deadline: float) -> list[str]:
        """Return a suggestion for one misspelled code."""
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


def problem(response: testing.Result) -> dict[str, object]:
    """Return the problem document of a response, after the checks that apply to all."""
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    document = response.json
    assert document["status"] == response.status_code
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
    params = {name: value for name, value in (VALID | changes).items() if value is not None}
    response = client.simulate_get("/rates", params=params, params_csv=False)
    document = problem(response)
    assert response.status_code == 400
    assert document["parameter"] == parameter
    assert message in str(document["detail"])
    assert document["errors"] == [{"parameter": parameter, "detail": document["detail"]}]


def test_all_invalid_parameters_are_named(client: testing.TestClient) -> None:
    """One response names every invalid parameter, and recognizes a misspelled one."""
    response = client.simulate_get("/rates", params={"date_from": "x", "date_to": "2021-01-01", "origin": "CNGGZ"})
    errors = problem(response)["errors"]
    assert [error["parameter"] for error in errors] == ["date_from", "orig_code", "dest_code"]  # type: ignore
    assert "'origin'" in errors[1]["detail"]  # type: ignore[index]


def test_longest_range(client: testing.TestClient) -> None:
    """A range of 3,660 days is allowed and returned newest first; unknown parameters are ignored."""
    response = client.simulate_get("/rates", params=VALID | {"date_to": "2031-01-08", "utm_source": "x"})
    assert response.status_code == 200
    assert len(response.json["rates"]) == 3660
    assert response.json["rates"][0] == {"count": None, "day": "2031-01-08", "price": None}
    assert response.json["rates"][-1]["day"] == "2021-01-01"


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_ends_of_the_calendar(client: testing.TestClient, day: str) -> None:
    """The first and the last possible date are accepted."""
    response = client.simulate_get("/rates", params=VALID | {"date_from": day, "date_to": day})
    assert response.json == {"rates": [{"count": None, "day": day, "price": None}]}


@pytest.mark.parametrize("code", ["XXXXX", "no_such", "Guangzhou", "CNGGZ ", "a\0b", "x" * 5000, "%", "'; --", "É"])
def test_unknown_location(client: testing.TestClient, code: str) -> None:
    """An unknown location returns 404 with the name of the parameter."""
    response = client.simulate_get("/rates", params=VALID | {"orig_code": code})
    assert response.status_code == 404
    assert problem(response)["parameter"] == "orig_code"
    assert len(str(response.json["detail"])) < 500


def test_similar_locations_are_suggested(client: testing.TestClient) -> None:
    """A misspelled location returns suggestions; both parameters are named if both are unknown."""
    response = client.simulate_get("/rates", params=VALID | {"orig_code": "cnggz", "dest_code": "BALTI"})
    assert response.status_code == 404
    first, second = problem(response)["errors"]  # type: ignore[misc]
    assert "CNGGZ (Guangzhou)" in first["detail"]
    assert second["parameter"] == "dest_code"


def test_other_methods(client: testing.TestClient) -> None:
    """An unsupported method returns 405 with the allowed ones; HEAD and OPTIONS work."""
    response = client.simulate_post("/rates")
    assert response.status_code == 405
    assert problem(response)["title"] == "Method Not Allowed"
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
    head = client.simulate_head("/rates", params=VALID)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(client.simulate_get("/rates", params=VALID).content))
    assert client.simulate_options("/rates").headers["Allow"] == "GET, HEAD"


def test_unknown_path(client: testing.TestClient) -> None:
    """An unknown path returns 404 with a link to the documentation."""
    response = client.simulate_get("/rate")
    assert response.status_code == 404
    assert "/docs" in str(problem(response)["detail"])


def test_home(client: testing.TestClient) -> None:
    """The root path names the main request."""
    assert "GET /rates" in client.simulate_get("/").json["message"]


@pytest.mark.parametrize("error", [DatabaseUnavailableError("host db1 refused"), OverloadedError("busy")])
def test_unavailable_database(client: testing.TestClient, reader: Reader, error: Exception) -> None:
    """While the database is unavailable or busy, the response is 503 with Retry-After, and the process stays live."""
    reader.error = error
    response = client.simulate_get("/rates", params=VALID)
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert "db1" not in str(problem(response))
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
        response = client.simulate_get("/health/started")
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
    reader.error = None
    assert client.simulate_get("/health/started").json == {"status": "started"}
    reader.error = DatabaseUnavailableError("refused")
    assert client.simulate_get("/health/started").status_code == 200
    assert client.simulate_get("/health/ready").status_code == 503


def test_unexpected_error(client: testing.TestClient, reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    """An internal error shows only the request id, under which the log has the details."""
    reader.error = RuntimeError("internal detail")
    response = client.simulate_get("/rates", params=VALID, headers={"X-Request-Id": "abc-1"})
    assert response.status_code == 500
    assert "internal detail" not in response.text
    assert "abc-1" in str(problem(response)["detail"])
    assert response.headers["X-Request-Id"] == "abc-1"
    assert caplog.records[-1].request_id == "abc-1"  # type: ignore[attr-defined]
    assert "internal detail" in caplog.text


def test_invalid_request_id_is_replaced(client: testing.TestClient, reader: Reader) -> None:
    """A client's request id is replaced unless it has a valid format."""
    reader.error = RuntimeError()
    response = client.simulate_get("/rates", params=VALID, headers={"X-Request-Id": 'x" onload="'})
    assert response.headers["X-Request-Id"].isalnum()


def test_not_modified(client: testing.TestClient) -> None:
    """A request with the current ETag gets 304; one with another ETag gets the full response."""
    etag = client.simulate_get("/rates", params=VALID).headers["ETag"]
    for sent in (etag, f"W/{etag}", f'"old", {etag}', "*"):
        response = client.simulate_get("/rates", params=VALID, headers={"If-None-Match": sent})
        assert (response.status_code, response.content, response.headers["ETag"]) == (304, b"", etag)
    for sent in ('"old"', "nonsense", ""):
        assert client.simulate_get("/rates", params=VALID, headers={"If-None-Match": sent}).status_code == 200
