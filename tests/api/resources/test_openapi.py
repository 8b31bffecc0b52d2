"""The OpenAPI document is complete and correct."""

from datetime import date, timedelta
from typing import Any

import pytest
from falcon import testing
from hypothesis import HealthCheck, given, settings

from ratesflow.api.cache.response_cache import ResponseCache
from ratesflow.api.cache.version_poller import VersionPoller
from ratesflow.api.models.versions import LatestVersion
from ratesflow.api.resources.docs_page import docs_page
from ratesflow.api.resources.openapi import specification
from ratesflow.api.resources.parameters import MAX_DAYS
from ratesflow.api.resources.problems import KINDS
from ratesflow.api.resources.rates import RatesResource
from ratesflow.api.server.app import FalconApp, create_app
from tests.api.cache.test_response_cache import Database
from tests.api.seed import TREE
from tests.api.service import Service


def _app(latest: LatestVersion) -> FalconApp:
    cache = ResponseCache(latest, VersionPoller(Database(), latest))
    return create_app(Database(), cache, RatesResource(Database(), cache))


def test_complete() -> None:
    """The document describes every path of the service, except the files of its own pages."""
    latest = LatestVersion()
    app = _app(latest)
    described = set(specification()["paths"])
    for path in described:
        assert testing.TestClient(app).simulate_get(path).status_code in {200, 400}, path
    routes: set[str] = set()

    def walk(nodes: list[Any]) -> None:
        for node in nodes:
            if node.resource is not None:
                routes.add(node.uri_template)
            walk(node.children)

    walk(app._router._roots)
    assert routes - {"/static/{name}"} == described


def test_documentation() -> None:
    """The documentation page has every path, parameter and problem type of the OpenAPI document."""
    document = specification()
    page = docs_page(document)
    for path, item in document["paths"].items():
        assert f"GET {path}</code>" in page
        for parameter in item["get"]["parameters"]:
            assert f"<code>{parameter['name']}</code>" in page
    for kind in KINDS:
        assert f'id="{kind}"' in page
    assert "://" not in page.replace("http://localhost:3000", "").replace("http://www.w3.org", "")


def test_problem_types_link_to_the_page() -> None:
    """The type of a problem is the URL of its description."""
    latest = LatestVersion()
    client = testing.TestClient(_app(latest))
    path, _, anchor = client.simulate_get("/rates").json["type"].partition("#")
    assert f'id="{anchor}"' in client.simulate_get(path).text


def test_schemathesis(service: Service) -> None:
    """Schemathesis finds no response that the document does not describe, to valid and invalid requests."""
    schemathesis = pytest.importorskip("schemathesis", reason="run `make setup`, which installs schemathesis")
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{service.port}/openapi.json")
    checked: dict[str, set[int]] = {}

    @schema.hook  # type: ignore[untyped-decorator]
    def map_query(context: Any, query: dict[str, Any] | None) -> dict[str, Any] | None:
        return _in_order(query)

    for result in schema.get_all_operations():
        _check(result.ok(), checked, schemathesis.GenerationMode)
    assert len(checked) == 2 * len(specification()["paths"]) - 1
    assert checked["GET /rates"] >= {400, 404}
    assert checked["GET /rates"] & {200, 304}


def _check(operation: Any, checked: dict[str, set[int]], modes: Any) -> None:
    """Send valid and invalid requests, and compare the responses with the document."""

    def check(case: Any) -> None:
        checked.setdefault(operation.label, set()).add(case.call_and_validate().status_code)

    strategy = operation.as_strategy(generation_mode=modes.POSITIVE) | operation.as_strategy(
        generation_mode=modes.NEGATIVE
    )
    # Valid requests for rates are rare, and at least one is needed.
    examples = 80 if operation.path == "/rates" else 25
    quick = settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    quick(given(case=strategy)(check))()


def _in_order(query: dict[str, Any] | None) -> dict[str, Any] | None:
    """Sort the dates, limit their range, and sometimes use existing locations, which a schema cannot express."""
    try:
        first, last = (date.fromisoformat(query[name]) for name in ("date_from", "date_to"))  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        return query
    assert query is not None
    first, last = sorted([first, last])
    query |= {"date_from": str(first), "date_to": str(min(last, first + timedelta(days=MAX_DAYS - 1)))}
    if (first.toordinal() + last.toordinal()) % 2 == 0:
        query |= {"orig_code": next(iter(TREE.ports)), "dest_code": "europe"}
    return query
