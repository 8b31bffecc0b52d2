"""``python -m api``: serves the service with Granian until SIGTERM.

Each option has a variable of the environment; ``api.wsgi`` describes those of the service itself.
"""

import argparse
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server import Server

from api.app import App
from api.logs import configuration
from api.wsgi import SettingsError, get_app, setting, threads

KILL_AFTER_SECONDS = 25  # ECS kills after 30
# Also how long an idle connection is kept: longer than a load balancer does (60 s), so that it is never
# the server that closes one on which a request is on its way.
IDLE_MILLISECONDS = 75_000
MAX_HEAD_BYTES = 64 * 1024  # of a request's first line and headers


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until told to stop; exit 1 with a line that says why when it cannot."""
    try:
        options = _options(arguments)
        get_app()  # a wrong setting is told here, once, not by every worker
        address = _free_address(options.host, options.port)
    except (SettingsError, OSError) as error:
        sys.exit(f"api: {error}")
    server = Server(
        target="api.wsgi:get_app",
        address=address,
        port=options.port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        workers=options.workers,
        blocking_threads=threads(),
        backlog=2048,
        backpressure=4096,  # connections, most of them idle: these cost no thread
        http1_settings=HTTP1Settings(header_read_timeout=IDLE_MILLISECONDS, max_buffer_size=MAX_HEAD_BYTES),
        websockets=False,
        respawn_failed_workers=True,
        respawn_interval=1.0,
        workers_kill_timeout=KILL_AFTER_SECONDS,
        log_dictconfig=configuration(),
        log_access=options.access_log,
    )
    server.serve(target_loader=partial(_load, os.getpid()), wrap_loader=False)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m api", description="Serve the rates API.")
    add = parser.add_argument
    environ = os.environ
    add("--host", default=environ.get("RATESFLOW_API_HOST") or "0.0.0.0", help="address; RATESFLOW_API_HOST")  # noqa: S104
    add("--port", type=int, default=setting(environ, "PORT", 3000, int), help="PORT; 3000")
    add("--workers", type=int, default=setting(environ, "RATESFLOW_API_WORKERS", 2, int),
        help="processes; RATESFLOW_API_WORKERS; 2")  # fmt: skip
    add("--access-log", action="store_true", default=bool(environ.get("RATESFLOW_API_ACCESS_LOG")),
        help="a line a request; RATESFLOW_API_ACCESS_LOG")  # fmt: skip
    return parser.parse_args(arguments)


def _free_address(host: str, port: int) -> str:
    """Return the numeric address of `host`, which Granian wants.

    Raises OSError if somebody listens there already: Granian shares ports, so it would not notice.
    """
    if not 0 < port < 65_536:
        raise OSError(f"{port} is not a port: they run from 1 to 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise OSError(f"cannot listen at {host}:{port}: {error.strerror}; --port or PORT names another") from None
    return str(address[0])


def _load(parent: int) -> App:
    """Return the service in a worker, which ends when the process `parent` has been killed."""
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    return get_app()


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
