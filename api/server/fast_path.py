"""What stands before the framework: rates leave from here, and every answer is numbered and counted.

Falcon takes three times as long for an answer as Granian; good rates without conditions need nothing of it.
Everything else is Falcon's, the errors of these too.
"""

import os
import re
from collections.abc import Callable, Iterable
from itertools import count
from time import perf_counter
from typing import Any

from ratesflow.api.cache.conditional import SOURCE
from ratesflow.api.cache.response_cache import Headers, Question, ResponseCache
from ratesflow.api.resources.content_negotiation import JSON, rates_key, variant
from ratesflow.api.resources.problems import REQUEST_ID
from ratesflow.api.resources.rates import FAILED, RatesResource
from ratesflow.api.server.cors import PREFLIGHT, Cors
from ratesflow.api.server.logs import log_access
from ratesflow.api.server.metrics import Reporter

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]

_GIVEN_ID = re.compile(r"[A-Za-z0-9._:=;-]{1,128}", re.ASCII)


class FastPath:
    """The whole service; `rates` answers for them, `app` for all else. `draining` asks clients to connect anew."""

    def __init__(
        self,
        app: Wsgi,
        known: ResponseCache,
        rates: RatesResource,
        *,
        cors: Cors | None = None,
        reporter: Reporter | None = None,
        access_log: bool = False,
    ) -> None:
        self._app = app
        self._known = known
        self._rates = rates
        self._cors = cors
        self.reporter = reporter
        self._metrics = reporter.metrics if reporter else None
        self._access_log = access_log
        self._prefix = os.urandom(8).hex()
        self._number = count(1)
        self.draining = False

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        started = perf_counter()
        given = environ.get("HTTP_X_REQUEST_ID")
        identity = given if given and _GIVEN_ID.fullmatch(given) else f"{self._prefix}{next(self._number):08x}"
        extra = [("X-Request-Id", identity)]
        if self.draining:
            extra.append(("Connection", "close"))
        if self._cors:
            extra += self._cors.headers(environ.get("HTTP_ORIGIN"))
        if environ["PATH_INFO"] == "/rates" and environ["REQUEST_METHOD"] == "GET":
            status, headers, body, source = self._serve_rates(environ)
            if status:
                start_response(status, _merged(headers, extra) if self._cors else headers + extra)
                self._observe(environ, status, len(body), source, identity, started)
                return [body] if body else []
        return self._by_app(environ, start_response, extra, identity, started)

    def _serve_rates(self, environ: Environ) -> tuple[str, Headers, bytes, str]:
        """Return an answer that is known or read, or an empty status."""
        accept = environ.get("HTTP_ACCEPT")
        media_type = JSON if accept is None else variant(accept)
        key = rates_key(environ["QUERY_STRING"], media_type)
        answer = self._known.recall(key)
        sent = environ.get("HTTP_IF_NONE_MATCH")
        if sent:
            tag = sent.removeprefix("W/").strip('"')
            etag = answer and self._known.unchanged([tag], Question(key, answer.bucket))
            if not etag:
                return "", [], b"", ""  # a list of them, or a newer one: that takes the longer way
            return "304 Not Modified", [("ETag", etag), *self._known.headers], b"", "unchanged"
        if answer:
            return "200 OK", answer.headers, answer.body, "known"
        try:
            answer, source = self._rates.answer(environ["QUERY_STRING"], media_type)
        except Exception as error:  # noqa: BLE001 it is raised again where errors become documents
            environ[FAILED] = error
            return "", [], b"", ""
        return "200 OK", answer.headers, answer.body, source

    def _by_app(
        self, environ: Environ, start_response: StartResponse, extra: Headers, identity: str, started: float
    ) -> Iterable[bytes]:
        environ[REQUEST_ID] = identity
        answered = "500 Internal Server Error"
        length = 0

        def respond(status: str, headers: Headers, *error: Any) -> Any:
            nonlocal answered, length
            answered = status
            length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
            if self._cors and environ["REQUEST_METHOD"] == "OPTIONS":
                headers = headers + PREFLIGHT
            return start_response(status, _merged(headers, extra), *error)

        body = self._app(environ, respond)
        self._observe(environ, answered, length, environ.get(SOURCE, "none"), identity, started)
        return body

    def _observe(self, environ: Environ, status: str, length: int, source: str, identity: str, started: float) -> None:
        seconds = perf_counter() - started
        if self._metrics:
            self._metrics.observe(seconds, int(status[:3]), source)
        if self._access_log:
            log_access(environ, status, length, source, identity, seconds)


def _merged(headers: Headers, extra: Headers) -> Headers:
    """Return both; where both tell what an answer varies by, it varies by both."""
    by = [value for name, value in (*headers, *extra) if name.lower() == "vary"]
    if len(by) < 2:
        return headers + extra
    rest = [header for header in (*headers, *extra) if header[0].lower() != "vary"]
    return [*rest, ("Vary", ", ".join(by))]
