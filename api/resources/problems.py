"""Errors as problem details (RFC 9457): what was wrong, with which parameter, what to do.

``type`` names the section of the documentation page that describes the problem; it is ``about:blank``
where the status says everything.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import falcon
import orjson

from ratesflow.api.postgres.pool import DatabaseUnavailableError, OverloadedError

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2

log = logging.getLogger("ratesflow.api")
# Where the front leaves the request's number, for the log and for the answer.
REQUEST_ID = "ratesflow.request_id"

KINDS = {
    "invalid-parameters": "A parameter is missing, malformed, repeated, or does not go with another.",
    "unknown-location": "orig_code or dest_code is neither a port's code nor a region's slug.",
    "unavailable": "The database cannot be reached, or there is too much to do: ask again after Retry-After.",
    "internal": "Something went wrong on our side.",
}


@dataclass(frozen=True, slots=True)
class InvalidParameter:
    """One parameter at fault, and what is wrong with it."""

    parameter: str
    detail: str


class ProblemError(falcon.HTTPError):
    """An error of ours, with the name of its kind and the parameters at fault."""

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        *,
        faults: Sequence[InvalidParameter] = (),
        retry: bool = False,
    ) -> None:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if retry else None
        super().__init__(status, title=title, description=detail, headers=headers)
        self.kind = kind
        self.faults = tuple(faults)

    @classmethod
    def of_parameters(cls, status: int, kind: str, title: str, faults: Sequence[InvalidParameter]) -> "ProblemError":
        """Make an error whose detail tells all that is wrong with the parameters."""
        return cls(status, kind, title, "; ".join(fault.detail for fault in faults), faults=faults)


def install(app: "falcon.App[falcon.Request, falcon.Response]") -> None:
    """Make every error that leaves `app` a problem document; none shows what went on inside."""
    app.set_error_serializer(_serialize)
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(DatabaseUnavailableError, _database_away)


def request_id(request: falcon.Request) -> str:
    """Return the number under which the log and the answer speak of this request."""
    return str(request.env.get(REQUEST_ID, "none"))


def _serialize(request: falcon.Request, response: falcon.Response, error: falcon.HTTPError) -> None:
    kind = error.kind if isinstance(error, ProblemError) else None
    document: dict[str, object] = {
        "type": f"/docs#{kind}" if kind else "about:blank",
        "title": error.title.removeprefix(f"{error.status_code} "),
        "status": error.status_code,
        "detail": error.description or _plain_detail(request, response, error),
    }
    if isinstance(error, ProblemError) and error.faults:
        document["parameter"] = error.faults[0].parameter
        document["errors"] = [asdict(fault) for fault in error.faults]
    response.data = orjson.dumps(document)
    response.content_type = CONTENT_TYPE
    response.set_header("Cache-Control", "no-store")


def _plain_detail(request: falcon.Request, response: falcon.Response, error: falcon.HTTPError) -> str:
    if isinstance(error, falcon.HTTPMethodNotAllowed):
        return f"{request.method} is not supported here; use one of {response.get_header('Allow')}"
    if isinstance(error, falcon.HTTPRouteNotFound):
        return "nothing is at this path; GET / tells where to start"
    return str(error.title)


def _database_away(
    request: falcon.Request, _response: falcon.Response, error: DatabaseUnavailableError, _parameters: object
) -> None:
    log.warning("%s %s: %s", request.method, request.path, error, extra={"request_id": request_id(request)})
    if isinstance(error, OverloadedError):
        detail = "the service has too much to do at the moment; ask again in a few seconds"
    else:
        detail = "the database cannot be reached at the moment; ask again in a few seconds"
    raise ProblemError(503, "unavailable", "Service unavailable", detail, retry=True)


def _unexpected(request: falcon.Request, _response: falcon.Response, error: Exception, _parameters: object) -> None:
    identity = request_id(request)
    log.error("%s %s failed", request.method, request.path, exc_info=error, extra={"request_id": identity})
    detail = f"something went wrong on our side; if it stays so, report this request's number: {identity}"
    raise ProblemError(500, "internal", "Internal error", detail)
