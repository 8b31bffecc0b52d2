"""Serves ``GET /rates``, by far the most frequent request, without Falcon.

What it buys: Falcon takes three times as long for a response as Granian (`python -m benchmarks.api throughput`
measures both), and a plain ``GET /rates`` needs none of its features. This module sends cached responses, responses
from the database, and errors: 400, 404, 500 and 503. A conditional request that the cache alone cannot decide goes to
Falcon: several ETags, ``*``, an ETag of newer data or of a response that is not cached.

``RATESFLOW_API_FAST_PATH=0`` switches it off: Falcon then sends the same bytes, including the order of the headers.
``tests/api/server/test_raw_requests.py`` compares both.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ratesflow.api.cache.response_cache import Headers, Lookup, ResponseCache
from ratesflow.api.resources.content_negotiation import JSON, negotiate, rates_key
from ratesflow.api.resources.problems import problem_response
from ratesflow.api.resources.rates import RatesResource

# One ETag in quotes. Falcon parses everything else: lists, ``*``, and ETags with missing or extra quotes.
_ONE_ETAG = re.compile(r'(?:W/)?"([^",]*)"')


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
        """Return the response to ``GET /rates``; None for a conditional request that goes to Falcon."""
        accept = environ.get("HTTP_ACCEPT")
        media_type = JSON if accept is None else negotiate(accept)
        key = rates_key(environ["QUERY_STRING"], media_type)
        cached = self._cache.get(key)
        sent = environ.get("HTTP_IF_NONE_MATCH")
        if sent:
            one = _ONE_ETAG.fullmatch(sent)
            etag = cached and one and self._cache.unchanged([one[1]], Lookup(key, cached.bucket))
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
