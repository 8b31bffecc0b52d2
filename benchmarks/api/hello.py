"""`python -m benchmarks.api.hello PORT WORKERS`: the server of our API, with an application that returns "hello"."""

import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any

from ratesflow.api.__main__ import granian_options
from ratesflow.api.server.granian_workers import RatesServer, listen

BODY = b"hello"
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]


def hello(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Respond."""
    start_response("200 OK", HEADERS)
    return [BODY]


def _load(_listener: socket.socket) -> Callable[..., Iterable[bytes]]:
    return hello


def main(port: int, workers: int) -> None:
    """Serve until SIGTERM."""
    sockets = listen("127.0.0.1", port, workers)
    server = RatesServer("hello", address="127.0.0.1", port=port, sockets=sockets, **granian_options())
    server.serve(target_loader=_load, wrap_loader=False)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
