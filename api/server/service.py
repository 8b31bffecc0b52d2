"""The service as one WSGI callable: gives each request an ID, counts it, and adds the common headers.

``GET /rates`` goes to the fast path, if there is one; everything else goes to Falcon.
"""

import os
import re
from collections.abc import Callable, Iterable
from itertools import count
from time import perf_counter
from typing import Any

from ratesflow.api.cache.response_cache import Headers
from ratesflow.api.resources.conditional import SOURCE
from ratesflow.api.resources.problems import REQUEST_ID
from ratesflow.api.server.cors import PREFLIGHT, Cors
from ratesflow.api.server.fast_path import FastPath
from ratesflow.api.server.logs import log_access
from ratesflow.api.server.metrics import Reporter

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]

_GIVEN_ID = re.compile(r"[A-Za-z0-9._:=;-]{1,128}", re.ASCII)


class Service:
    """The whole service. `draining` asks clients to reconnect; `fast_path` is None when it is switched off."""

    def __init__(
        self,
        app: Wsgi,
        fast_path: FastPath | None,
        *,
        cors: Cors | None = None,
        reporter: Reporter | None = None,
        access_log: bool = False,
    ) -> None:
        self._app = app
        self._fast_path = fast_path
        self._cors = cors
        self.reporter = reporter
        self._metrics = reporter.metrics if reporter else None
        self._access_log = access_log
        self._prefix = os.urandom(8).hex()
        self._number = count(1)
        self.draining = False

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Respond to one request (PEP 3333)."""
        started = perf_counter()
        given = environ.get("HTTP_X_REQUEST_ID")
        identity = given if given and _GIVEN_ID.fullmatch(given) else f"{self._prefix}{next(self._number):08x}"
        environ[REQUEST_ID] = identity
        extra = [("X-Request-Id", identity)]
        if self.draining:
            extra.append(("Connection", "close"))
        if self._cors:
            extra += self._cors.headers(environ.get("HTTP_ORIGIN"))
        if self._fast_path and environ["PATH_INFO"] == "/rates" and environ["REQUEST_METHOD"] == "GET":
            served = self._fast_path.serve(environ)
            if served:
                status, headers, body, source = served
                start_response(status, _merged(headers, extra) if self._cors else headers + extra)
                self._observe(environ, status, len(body), source, identity, started)
                return [body] if body else []
        return self._by_app(environ, start_response, extra, identity, started)

    def _by_app(
        self, environ: Environ, start_response: StartResponse, extra: Headers, identity: str, started: float
    ) -> Iterable[bytes]:
        sent = "500 Internal Server Error"
        length = 0

        def respond(status: str, headers: Headers, *error: Any) -> Any:
            nonlocal sent, length
            sent = status
            length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
            if self._cors and environ["REQUEST_METHOD"] == "OPTIONS":
                headers = headers + PREFLIGHT
            return start_response(status, _merged(headers, extra), *error)

        body = self._app(environ, respond)
        self._observe(environ, sent, length, environ.get(SOURCE, "none"), identity, started)
        return body

    def _observe(self, environ: Environ, status: str, length: int, source: str, identity: str, started: float) -> None:
        seconds = perf_counter() - started
        if self._metrics:
            self._metrics.observe(seconds, int(status[:3]), source)
        if self._access_log:
            log_access(environ, status, length, source, identity, seconds)


def _merged(headers: Headers, extra: Headers) -> Headers:
    """Return both, with one Vary header."""
    by = [value for name, value in (*headers, *extra) if name.lower() == "vary"]
    if len(by) < 2:
        return headers + extra
    rest = [header for header in (*headers, *extra) if header[0].lower() != "vary"]
    return [*rest, ("Vary", ", ".join(by))]
