"""The service as a WSGI application: it reads no environment and opens no connection by itself."""

from typing import TypeAlias

import falcon
import orjson

from api import problems
from api.answers import JSON_FORMAT, rates_json
from api.connections import OverloadedError
from api.parameters import Location, quoted, rates_query
from api.reader import Rates, RatesReader

App: TypeAlias = "falcon.App[falcon.Request, falcon.Response]"

MESSAGE = (
    "ratesflow answers what shipping costs: GET /rates?date_from=2021-01-01&date_to=2021-01-31"
    "&orig_code=CNGGZ&dest_code=EETLL gives the number of prices and their average for every day; "
    "orig_code and dest_code are codes of ports or slugs of regions."
)


def create_app(rates: RatesReader, *, max_age_seconds: int = 5) -> App:
    """Return the service; it answers from `rates`, and lets others keep an answer for `max_age_seconds`."""
    app: App = falcon.App(media_type=falcon.MEDIA_JSON)
    app.add_route("/", HomeResource())
    app.add_route("/rates", RatesResource(rates, max_age_seconds))
    app.add_route("/health/live", LiveResource())
    app.add_route("/health/ready", ReadyResource(rates))
    problems.install(app)
    return app


class HomeResource:
    """Tells a person or a program where to start."""

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        """Answer with one helpful sentence."""
        response.data = orjson.dumps({"message": MESSAGE})

    on_head = on_get


class RatesResource:
    """The rates between two locations, day by day."""

    def __init__(self, rates: RatesReader, max_age_seconds: int) -> None:
        self._rates = rates
        self._cache_control = f"public, max-age={max_age_seconds}"

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Answer with every day of the range, or with 304 if the client has that answer already."""
        query = rates_query(request.params)
        found = self._rates.rates(query) if query.orig.kind and query.dest.kind else None
        if found is None or not (found.orig_known and found.dest_known):
            raise self._unknown(query.orig, query.dest, found)
        etag = f'"{found.epoch}-{found.version}-{JSON_FORMAT}"'
        response.set_header("ETag", etag)
        response.set_header("Cache-Control", self._cache_control)
        if _has_already(request, etag):
            response.status = falcon.HTTP_304
        else:
            response.data = rates_json(query.date_from, query.date_to, found.months)

    on_head = on_get

    def _unknown(self, orig: Location, dest: Location, found: Rates | None) -> problems.ProblemError:
        """Return the error that names each location that is not known, and what may have been meant."""
        known = (found.orig_known, found.dest_known) if found else (orig.kind is not None, dest.kind is not None)
        faults = [
            problems.Fault(parameter, self._unknown_detail(parameter, location.text))
            for parameter, location, is_known in zip(("orig_code", "dest_code"), (orig, dest), known, strict=True)
            if not is_known
        ]
        return problems.ProblemError.of_parameters(404, "unknown-location", "Unknown location", faults)

    def _unknown_detail(self, parameter: str, text: str) -> str:
        detail = f"{parameter} is {quoted(text)}, which is neither a port's code nor a region's slug"
        if alike := self._rates.alike(text):
            return f"{detail}; perhaps you mean {' or '.join(alike)}"
        return f"{detail}; codes are such as CNGGZ, in capitals, slugs such as china_main"


class LiveResource:
    """Whether the process answers at all; it never asks the database."""

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        """Answer that it lives."""
        response.data = b'{"status":"live"}'
        response.set_header("Cache-Control", "no-store")

    on_head = on_get


class ReadyResource:
    """Whether requests can be answered now."""

    def __init__(self, rates: RatesReader) -> None:
        self._rates = rates

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        """Answer that it is ready. Raises DatabaseAwayError, which becomes a 503, if the database is not.

        Busy counts as ready: to take a busy one away from its load balancer would make the others busier.
        """
        try:
            self._rates.check()
            response.data = b'{"status":"ready"}'
        except OverloadedError:
            response.data = b'{"status":"busy"}'
        response.set_header("Cache-Control", "no-store")

    on_head = on_get


def _has_already(request: falcon.Request, etag: str) -> bool:
    if not request.get_header("If-None-Match"):
        return False
    # Weak comparison (RFC 9110, 13.1.2): a proxy that compresses marks the tag as weak.
    return any(tag == "*" or f'"{tag}"' == etag for tag in request.if_none_match or [])
