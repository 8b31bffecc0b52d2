"""Limits access to this machine's own browser, by a name of this machine, from a page of this console.

A page of another site can make a browser send requests to loopback. It cannot choose their Host (which stops
DNS rebinding), their Origin or Sec-Fetch-Site, and it cannot read the token that every form here carries.
"""

import hmac
import secrets
from urllib.parse import urlsplit

from flask import Flask, Response, abort, redirect, request, session
from werkzeug.wrappers import Response as AnyResponse

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def guard(app: Flask, key: str | None) -> None:
    """Make an application reject requests that do not come from its own pages on this machine."""
    app.secret_key = secrets.token_bytes(32)
    app.config |= {"SESSION_COOKIE_SAMESITE": "Strict", "SESSION_COOKIE_HTTPONLY": True}

    def check() -> AnyResponse | None:
        # Cookies are not separated by port: two consoles on one machine need two names.
        app.config["SESSION_COOKIE_NAME"] = f"ratesflow-{app.config.get('PORT', 0)}"
        _check_host(int(app.config.get("PORT", 0)))
        if key is not None and not session.get("key"):
            if not hmac.compare_digest(request.args.get("key", ""), key):
                abort(403, "Open the console with the complete address that `ratesflow console` printed.")
            session["key"] = True
            return redirect(request.path)
        if request.method not in ("GET", "HEAD"):
            _check_origin()
            if not hmac.compare_digest(request.form.get("token", ""), session.get("token", "") or secrets.token_hex()):
                abort(403, "The console has restarted since this page was loaded: reload it and try again.")
        return None

    def protect(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    app.before_request(check)
    app.after_request(protect)
    app.jinja_env.globals["token"] = token


def token() -> str:
    """Return the token of this browser, which every form carries."""
    if "token" not in session:
        session["token"] = secrets.token_urlsafe(24)
    return str(session["token"])


def _check_host(port: int) -> None:
    if request.host not in {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}:
        abort(421, f"This console is served only at http://127.0.0.1:{port}.")


def _check_origin() -> None:
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if (origin is not None and urlsplit(origin).netloc != request.host) or site not in (None, "same-origin"):
        abort(403, "This request came from another site; nothing was done.")
