"""Stands before the embedded AWS, and answers AccessDenied, in each service's own form, to what is not allowed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from ratesflow.local.aws.iam.calls import Calls
from ratesflow.local.aws.iam.keys import asks_of_key
from ratesflow.local.aws.iam.object_requests import asks_about_missing
from ratesflow.local.aws.iam.policy import Ask, UnsupportedPolicyError, decide
from ratesflow.local.aws.iam.requests import Signer, asks, signer
from ratesflow.local.aws.iam.roles import Role, UnknownRoleError, role_of

CALLS_PATH = "/moto-api/iam-calls"
_PIECE_BYTES = 1024 * 1024
_FORM = "application/x-www-form-urlencoded"
_NOBODY = Signer("", "", "")
_OLD = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
Start = Callable[..., Any]
Application = Callable[[dict[str, Any], Start], Iterable[bytes]]


class RefusedError(Exception):
    """The request is not allowed; the text is what AWS would say."""


class Gate:
    """A WSGI application around another: requests of roles pass it if their policies allow them."""

    def __init__(self, application: Application, account: str, file: Path) -> None:
        self._application = application
        self._account = account
        self.calls = Calls(file)

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        """Let a request through, refuse it, or tell what was called."""
        if environ.get("PATH_INFO") == CALLS_PATH:
            start_response("200 OK", [("Content-Type", "application/json")])
            return [self.calls.text().encode()]
        who = signer(environ)
        if who is None:
            if "HTTP_X_AMZ_TARGET" in environ:  # S3 has rules of its own for what nobody signed
                said = "Request is missing Authentication Token"
                return _answer(environ, start_response, _NOBODY, "400 Bad Request", "MissingAuthenticationToken", said)
            return self._application(environ, start_response)
        try:
            role = role_of(who.key, self._account)
            if role is None:
                return self._application(environ, start_response)
            if not who.region:
                raise RefusedError(_OLD)
            for ask in asks(environ, who, self._account):
                self._require(role, ask)
                for beside in asks_of_key(ask, who.region, self._account):
                    self._require(role, beside)
        except UnknownRoleError as error:
            return _answer(environ, start_response, who, "503 Service Unavailable", "ServiceUnavailable", str(error))
        except (RefusedError, UnsupportedPolicyError) as error:
            return _denied(environ, start_response, who, error)
        if who.service == "s3" and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return self._tell_of_missing(environ, start_response, who, role)
        return self._application(environ, start_response)

    def _require(self, role: Role, ask: Ask) -> None:
        decision = decide(role.statements, ask)
        self.calls.add(role.name, ask, decision)
        if not decision.allowed:
            why = "with an explicit deny in" if decision.sids else "because no"
            end = (
                "an identity-based policy" if decision.sids else f"identity-based policy allows the {ask.action} action"
            )
            said = f"User: {role.principal} is not authorized to perform: {ask.action} on resource: {ask.resource}"
            raise RefusedError(f"{said} {why} {end}")

    def _tell_of_missing(self, environ: dict[str, Any], start: Start, who: Signer, role: Role) -> Iterable[bytes]:
        """Answer that an object is not there only to those who may list the bucket."""
        missing: list[str] = []
        held: list[tuple[Any, ...]] = []

        def hold(status: str, *rest: Any) -> Any:
            if status.startswith("404"):
                missing.append(status)
                held.append((status, *rest))
                return lambda _: None
            return start(status, *rest)

        answer = self._application(environ, hold)
        if not missing:
            return answer
        try:
            self._require(role, asks_about_missing(environ))
        except RefusedError as error:
            return _denied(environ, start, who, error)
        start(*held[0])
        return answer


def _denied(environ: dict[str, Any], start: Start, who: Signer, error: Exception) -> Iterable[bytes]:
    status = "400 Bad Request" if "HTTP_X_AMZ_TARGET" in environ else "403 Forbidden"
    form = environ.get("CONTENT_TYPE", "").startswith(_FORM)
    code = {"s3": "AccessDenied", "sqs": "AccessDenied", "sns": "AuthorizationError", "ec2": "UnauthorizedOperation"}
    usual = "AccessDenied" if form else "AccessDeniedException"
    return _answer(environ, start, who, status, code.get(who.service, usual), str(error))


def _answer(
    environ: dict[str, Any], start: Start, who: Signer, status: str, code: str, message: str
) -> Iterable[bytes]:
    """Answer with an error as the service would."""
    _read_to_its_end(environ)
    if who.service == "s3" or environ.get("CONTENT_TYPE", "").startswith(_FORM):
        kind, inner = "application/xml", f"<Code>{code}</Code><Message>{escape(message)}</Message>"
        error = f"<Error>{inner}<RequestId>iam</RequestId></Error>"
        within = {"s3": "{}", "ec2": "<Response><Errors>{}</Errors></Response>"}
        text = within.get(who.service, "<ErrorResponse>{}<RequestId>iam</RequestId></ErrorResponse>").format(error)
        text = f'<?xml version="1.0" encoding="UTF-8"?>{text}'
    else:
        kind, text = "application/x-amz-json-1.0", json.dumps({"__type": code, "message": message})
    body = b"" if environ["REQUEST_METHOD"] == "HEAD" else text.encode()
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("x-amzn-RequestId", "iam")]
    headers += [("x-amzn-ErrorType", code)]
    if who.service == "sqs":
        headers += [("x-amzn-query-error", f"{code};Sender")]
    start(status, headers)
    return [body]


def _read_to_its_end(environ: dict[str, Any]) -> None:
    """Whoever still sends would see a broken connection in place of the answer."""
    left = int(environ.get("CONTENT_LENGTH") or 0)
    while left > 0 and (piece := environ["wsgi.input"].read(min(left, _PIECE_BYTES))):
        left -= len(piece)
