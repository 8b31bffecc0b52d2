"""A short cut in front of Falcon for ``GET /rates``, the request that clients repeat.

What it buys: Falcon takes three times as long for a response as Granian (`python -m benchmarks.api throughput`
measures both), and a plain ``GET /rates`` needs nothing of it. Cached responses, reads and errors of such requests
leave from here; a condition that the cache cannot decide alone (several ETags, or one of newer data) goes to Falcon.

``RATESFLOW_API_FAST_PATH=0`` switches it off: Falcon then answers the same bytes. A test compares both.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ratesflow.api.cache.response_cache import Headers, Question, ResponseCache
from ratesflow.api.resources.content_negotiation import JSON, negotiate, rates_key
from ratesflow.api.resources.problems import problem_response
from ratesflow.api.resources.rates import RatesResource


class Served(NamedTuple):
    """A response, and how it came about: the source that metrics and the access log name."""

    status: str
    headers: Headers
    body: bytes
    source: str


class FastPath:
    """Answers ``GET /rates`` without Falcon."""

    def __init__(self, cache: ResponseCache, rates: RatesResource) -> None:
        self._cache = cache
        self._rates = rates

    def serve(self, environ: Mapping[str, Any]) -> Served | None:
        """Return the response to ``GET /rates``; None for a conditional request that Falcon has to answer."""
        accept = environ.get("HTTP_ACCEPT")
        media_type = JSON if accept is None else negotiate(accept)
        key = rates_key(environ["QUERY_STRING"], media_type)
        answer = self._cache.get(key)
        sent = environ.get("HTTP_IF_NONE_MATCH")
        if sent:
            tag = sent.removeprefix("W/").strip('"')
            etag = answer and self._cache.unchanged([tag], Question(key, answer.bucket))
            if not etag:
                return None
            return Served("304 Not Modified", [("ETag", etag), *self._cache.headers], b"", "not_modified")
        if answer:
            return Served("200 OK", answer.headers, answer.body, "hit")
        try:
            answer, source = self._rates.answer(environ["QUERY_STRING"], media_type)
        except Exception as error:  # noqa: BLE001 each becomes a problem document
            return Served(*problem_response(error, environ), "none")
        return Served("200 OK", answer.headers, answer.body, source)
