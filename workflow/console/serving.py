"""Serves the console on loopback until the process ends."""

import logging
import secrets
from collections.abc import Callable

from werkzeug.serving import WSGIRequestHandler, make_server

from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.console.app import create_app


class _QuietHandler(WSGIRequestHandler):  # type: ignore[misc]
    """A handler that logs no requests: a live page sends one every second."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""


def new_key() -> str:
    """Return a key for a console that acts with the user's credentials."""
    return secrets.token_urlsafe(24)


def serve(find: Callable[[], Environment], port: int, *, key: str | None = None, ready: Callable[[str], None]) -> None:
    """Serve the console on 127.0.0.1 until the process ends; `ready` gets its address when it listens.

    With a `key` only a browser that presents it is served. Raises OSError when the port is taken.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = create_app(find, key=key)
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=_QuietHandler)
    app.config["PORT"] = server.server_port
    ready(f"http://127.0.0.1:{server.server_port}/")
    server.serve_forever()
