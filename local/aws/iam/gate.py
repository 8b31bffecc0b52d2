"""Checks requests before the embedded AWS handles them: AccessDenied, in each service's format, if not allowed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from ratesflow.local.aws.iam.calls import Calls
from ratesflow.local.aws.iam.keys import key_permissions
from ratesflow.local.aws.iam.object_requests import listing_permission
from ratesflow.local.aws.iam.policy import Permission, UnsupportedPolicyError, decide
from ratesflow.local.aws.iam.requests import Signer, find_signer, required_permissions
from ratesflow.local.aws.iam.roles import Role, UnknownRoleError, role_of

CALLS_PATH = "/moto-api/iam-calls"
_CHUNK_BYTES = 1024 * 1024
_FORM = "application/x-www-form-urlencoded"
_ANONYMOUS = Signer("", "", "")
_OLD = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
Start = Callable[..., Any]
Application = Callable[[dict[str, Any], Start], Iterable[bytes]]


class AccessDeniedError(Exception):
    """The request is not allowed; the message is that of AWS."""


class Gate:
    """WSGI middleware: passes on a role's request if its policies allow it."""

    def __init__(self, application: Application, account: str, file: Path) -> None:
        self._application = application
        self._account = account
        self.calls = Calls(file)

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        """Pass a request on, reject it, or return the recorded calls."""
        if environ.get("PATH_INFO") == CALLS_PATH:
            start_response("200 OK", [("Content-Type", "application/json")])
            return [self.calls.text().encode()]
        signer = find_signer(environ)
        if signer is None:
            if "HTTP_X_AMZ_TARGET" in environ:  # S3 has its own rules for unsigned requests
                message = "Request is missing Authentication Token"
                return _error(
                    environ, start_response, _ANONYMOUS, "400 Bad Request", "MissingAuthenticationToken", message
                )
            return self._application(environ, start_response)
        try:
            role = role_of(signer.key, self._account)
            if role is None:
                return self._application(environ, start_response)
            if not signer.region:
                raise AccessDeniedError(_OLD)
            for permission in required_permissions(environ, signer, self._account):
                self._require(role, permission)
                for key_permission in key_permissions(permission, signer.region, self._account):
                    self._require(role, key_permission)
        except UnknownRoleError as error:
            return _error(environ, start_response, signer, "503 Service Unavailable", "ServiceUnavailable", str(error))
        except (AccessDeniedError, UnsupportedPolicyError) as error:
            return _denied(environ, start_response, signer, error)
        if signer.service == "s3" and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return self._hide_missing(environ, start_response, signer, role)
        return self._application(environ, start_response)

    def _require(self, role: Role, permission: Permission) -> None:
        decision = decide(role.statements, permission)
        self.calls.add(role.name, permission, decision)
        if not decision.allowed:
            why = "with an explicit deny in" if decision.sids else "because no"
            source = (
                "an identity-based policy"
                if decision.sids
                else f"identity-based policy allows the {permission.action} action"
            )
            message = f"User: {role.principal} is not authorized to perform: {permission.action} on resource:"
            raise AccessDeniedError(f"{message} {permission.resource} {why} {source}")

    def _hide_missing(self, environ: dict[str, Any], start: Start, signer: Signer, role: Role) -> Iterable[bytes]:
        """Replace 404 for a missing object by AccessDenied unless the role may list the bucket."""
        missing: list[str] = []
        delayed: list[tuple[Any, ...]] = []

        def delay_not_found(status: str, *rest: Any) -> Any:
            if status.startswith("404"):
                missing.append(status)
                delayed.append((status, *rest))
                return lambda _: None
            return start(status, *rest)

        response = self._application(environ, delay_not_found)
        if not missing:
            return response
        try:
            self._require(role, listing_permission(environ))
        except AccessDeniedError as error:
            return _denied(environ, start, signer, error)
        start(*delayed[0])
        return response


def _denied(environ: dict[str, Any], start: Start, signer: Signer, error: Exception) -> Iterable[bytes]:
    status = "400 Bad Request" if "HTTP_X_AMZ_TARGET" in environ else "403 Forbidden"
    form = environ.get("CONTENT_TYPE", "").startswith(_FORM)
    code = {"s3": "AccessDenied", "sqs": "AccessDenied", "sns": "AuthorizationError", "ec2": "UnauthorizedOperation"}
    usual = "AccessDenied" if form else "AccessDeniedException"
    return _error(environ, start, signer, status, code.get(signer.service, usual), str(error))


def _error(
    environ: dict[str, Any], start: Start, signer: Signer, status: str, code: str, message: str
) -> Iterable[bytes]:
    """Return an error in the service's format."""
    _drain(environ)
    if signer.service == "s3" or environ.get("CONTENT_TYPE", "").startswith(_FORM):
        kind, inner = "application/xml", f"<Code>{code}</Code><Message>{escape(message)}</Message>"
        error = f"<Error>{inner}<RequestId>iam</RequestId></Error>"
        within = {"s3": "{}", "ec2": "<Response><Errors>{}</Errors></Response>"}
        text = within.get(signer.service, "<ErrorResponse>{}<RequestId>iam</RequestId></ErrorResponse>").format(error)
        text = f'<?xml version="1.0" encoding="UTF-8"?>{text}'
    else:
        kind, text = "application/x-amz-json-1.0", json.dumps({"__type": code, "message": message})
    body = b"" if environ["REQUEST_METHOD"] == "HEAD" else text.encode()
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("x-amzn-RequestId", "iam")]
    headers += [("x-amzn-ErrorType", code)]
    if signer.service == "sqs":
        headers += [("x-amzn-query-error", f"{code};Sender")]
    start(status, headers)
    return [body]


def _drain(environ: dict[str, Any]) -> None:
    """Read the rest of the request: a client that is still sending would see a broken connection, not the error."""
    left = int(environ.get("CONTENT_LENGTH") or 0)
    while left > 0 and (chunk := environ["wsgi.input"].read(min(left, _CHUNK_BYTES))):
        left -= len(chunk)
