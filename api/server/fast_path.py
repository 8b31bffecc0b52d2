"""Serves ``GET /rates``, by far the most frequent request, without Falcon.

What it buys: Falcon takes three times as long for a response as Granian (`python -m benchmarks.api throughput`
measures both), and a plain ``GET /rates`` needs none of its features. Cached responses, reads and errors of such
requests are handled here; a conditional request that the cache alone cannot decide (several ETags, or one of newer
data) goes to Falcon.

``RATESFLOW_API_FAST_PATH=0`` switches it off: Falcon then returns the same bytes. A test compares both.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ratesflow.api.cache.response_cache import Headers, Lookup, ResponseCache
from ratesflow.api.resources.content_negotiation import JSON, negotiate, rates_key
from ratesflow.api.resources.problems import problem_response
from ratesflow.api.resources.rates import RatesResource


class Served(NamedTuple):
    """A response, and its source for metrics and the access log."""

    status: str
    headers: Headers
    body: bytes
    source: str


class FastPath:
    """Serves ``GET /rates`` without Falcon."""

    def __init__(self, cache: ResponseCache, rates: RatesResource) -> None:
        self._cache = cache
        self._rates = rates

    def serve(self, environ: Mapping[str, Any]) -> Served | None:
        """Return the response to ``GET /rates``; None for a conditional request that Falcon must answer."""
        accept = environ.get("HTTP_ACCEPT")
        media_type = JSON if accept is None else negotiate(accept)
        key = rates_key(environ["QUERY_STRING"], media_type)
        cached = self._cache.get(key)
        sent = environ.get("HTTP_IF_NONE_MATCH")
        if sent:
            tag = sent.removeprefix("W/").strip('"')
            etag = cached and self._cache.unchanged([tag], Lookup(key, cached.bucket))
            if not etag:
                return None
            return Served("304 Not Modified", [("ETag", etag), *self._cache.headers], b"", "not_modified")
        if cached:
            return Served("200 OK", cached.headers, cached.body, "hit")
        try:
            cached, source = self._rates.response_to(environ["QUERY_STRING"], media_type)
        except Exception as error:  # noqa: BLE001 each becomes a problem document
            return Served(*problem_response(error, environ), "none")
        return Served("200 OK", cached.headers, cached.body, source)
