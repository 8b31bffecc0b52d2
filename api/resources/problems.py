"""Errors as problem details (RFC 9457): what is wrong, with which parameter, and what to do.

``type`` is the section of the documentation page that describes the problem, or ``about:blank`` where the status code
is enough.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import falcon
import orjson

from ratesflow.api.models.errors import DatabaseUnavailableError, OverloadedError

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2

log = logging.getLogger("ratesflow.api")
# The key of the request ID in the WSGI environment.
REQUEST_ID = "ratesflow.request_id"

KINDS = {
    "invalid-parameters": "A parameter is missing, malformed, repeated, or contradicts another.",
    "unknown-location": "orig_code or dest_code is neither a port's code nor a region's slug.",
    "unavailable": "The database cannot be reached, or the service is overloaded: retry after Retry-After seconds.",
    "internal": "An internal error.",
}


@dataclass(frozen=True, slots=True)
class InvalidParameter:
    """An invalid parameter, and what is wrong with it."""

    parameter: str
    detail: str


class ProblemError(falcon.HTTPError):
    """An error with the name of its kind and the invalid parameters."""

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        *,
        invalid: Sequence[InvalidParameter] = (),
        retry: bool = False,
    ) -> None:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if retry else None
        super().__init__(status, title=title, description=detail, headers=headers)
        self.kind = kind
        self.invalid = tuple(invalid)

    @classmethod
    def of_parameters(cls, status: int, kind: str, title: str, invalid: Sequence[InvalidParameter]) -> "ProblemError":
        """Return an error whose detail describes everything that is wrong with the parameters."""
        return cls(status, kind, title, "; ".join(each.detail for each in invalid), invalid=invalid)


def install(app: "falcon.App[falcon.Request, falcon.Response]") -> None:
    """Turn every error of `app` into a problem document without internals."""
    app.set_error_serializer(_serialize)
    app.add_error_handler(Exception, _handle)


def problem_response(error: Exception, environ: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
    """Return the status line, headers and body for an error of a request that bypassed Falcon."""
    problem = _as_problem(error, environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get(REQUEST_ID, "none"))
    body = orjson.dumps(_document(problem, problem.description or str(problem.title)))
    # In the order of Falcon.
    headers = [(str(name), str(value)) for name, value in dict(problem.headers or {}).items()]
    headers += [("Content-Type", CONTENT_TYPE), ("Cache-Control", "no-store"), ("Content-Length", str(len(body)))]
    return falcon.code_to_http_status(problem.status), headers, body


def request_id(request: falcon.Request) -> str:
    """Return the request ID that appears in the log and in the response."""
    return str(request.env.get(REQUEST_ID, "none"))


def _handle(request: falcon.Request, _response: falcon.Response, error: Exception, _parameters: object) -> None:
    raise _as_problem(error, request.method, request.path, request_id(request))


def _as_problem(error: Exception, method: str, path: str, identity: str) -> falcon.HTTPError:
    """Return the error for the client; log it if the client did not cause it."""
    if isinstance(error, falcon.HTTPError):
        return error
    if isinstance(error, DatabaseUnavailableError):
        log.warning("%s %s: %s", method, path, error, extra={"request_id": identity})
        cause = "service is overloaded" if isinstance(error, OverloadedError) else "database cannot be reached"
        detail = f"the {cause}; retry in a few seconds"
        return ProblemError(503, "unavailable", "Service unavailable", detail, retry=True)
    log.error("%s %s failed", method, path, exc_info=error, extra={"request_id": identity})
    detail = f"an internal error occurred; if it persists, report this request ID: {identity}"
    return ProblemError(500, "internal", "Internal error", detail)


def _serialize(request: falcon.Request, response: falcon.Response, error: falcon.HTTPError) -> None:
    response.data = orjson.dumps(_document(error, error.description or _plain_detail(request, response, error)))
    response.content_type = CONTENT_TYPE
    response.set_header("Cache-Control", "no-store")


def _document(error: falcon.HTTPError, detail: str) -> dict[str, object]:
    kind = error.kind if isinstance(error, ProblemError) else None
    document: dict[str, object] = {
        "type": f"/docs#{kind}" if kind else "about:blank",
        "title": error.title.removeprefix(f"{error.status_code} "),
        "status": error.status_code,
        "detail": detail,
    }
    if isinstance(error, ProblemError) and error.invalid:
        document["parameter"] = error.invalid[0].parameter
        document["errors"] = [asdict(each) for each in error.invalid]
    return document


def _plain_detail(request: falcon.Request, response: falcon.Response, error: falcon.HTTPError) -> str:
    if isinstance(error, falcon.HTTPMethodNotAllowed):
        return f"{request.method} is not supported here; use one of {response.get_header('Allow')}"
    if isinstance(error, falcon.HTTPRouteNotFound):
        return "not found; see /docs"
    return str(error.title)
