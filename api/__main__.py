"""``python -m ratesflow.api``: serves the service with Granian until SIGTERM; SIGHUP replaces its workers.

Each option can also be set in the environment; ``ratesflow.api.server.wsgi`` describes the settings of the service.
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
from typing import Any

from ratesflow.extras import exit_without_extra

with exit_without_extra("api", "The API"):
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings

    from ratesflow.api.server.granian_workers import DRAIN, RatesServer, listen, stop_accepting
    from ratesflow.api.server.logs import configuration
    from ratesflow.api.server.service import Service
    from ratesflow.api.server.wsgi import SettingsError, get_app, setting, threads

KILL_AFTER_SECONDS = 25  # ECS kills after 30
# Also how long an idle connection is kept: longer than a load balancer keeps it (60 s), so that the server never
# closes a connection on which a request is on its way.
IDLE_MILLISECONDS = 75_000
MAX_HEAD_BYTES = 64 * 1024  # the first line and the headers of a request


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM; exit 1 with a message if the service cannot start."""
    try:
        options = _options(arguments)
        if options.access_log:
            os.environ["RATESFLOW_API_ACCESS_LOG"] = "1"
        get_app()  # reports a wrong setting once, not in every worker
        sockets = listen(options.host, options.port, options.workers)
    except (SettingsError, OSError) as error:
        sys.exit(f"api: {error}")
    server = RatesServer(
        target="ratesflow.api.server.wsgi:get_app",
        address=options.host,
        port=options.port,
        sockets=sockets,
        **granian_options(),
    )
    server.serve(target_loader=partial(_load, os.getpid()), wrap_loader=False)


def granian_options() -> dict[str, Any]:
    """Return the options of Granian."""
    return {
        "interface": Interfaces.WSGI,
        "http": HTTPModes.http1,
        "blocking_threads": threads(),
        "backpressure": 4096,  # connections; idle ones take no thread
        "http1_settings": HTTP1Settings(header_read_timeout=IDLE_MILLISECONDS, max_buffer_size=MAX_HEAD_BYTES),
        "websockets": False,
        "respawn_failed_workers": True,
        "respawn_interval": 1.0,
        "workers_kill_timeout": KILL_AFTER_SECONDS,
        "log_dictconfig": configuration(),
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ratesflow.api", description="Serve the rates API.")
    add = parser.add_argument
    environ = os.environ
    add(
        "--host",
        default=environ.get("RATESFLOW_API_HOST") or "0.0.0.0",  # noqa: S104
        help="address to listen on; RATESFLOW_API_HOST",
    )
    add("--port", type=int, default=setting(environ, "PORT", 3000, int), help="port to listen on; PORT; 3000")
    add("--workers", type=int, default=setting(environ, "RATESFLOW_API_WORKERS", 2, int),
        help="worker processes; RATESFLOW_API_WORKERS; 2")  # fmt: skip
    add("--access-log", action="store_true", help="log one line of JSON per request; RATESFLOW_API_ACCESS_LOG")
    return parser.parse_args(arguments)


def _load(parent: int, listener: socket.socket) -> Service:
    """Return the service in a worker; the worker ends if its parent process is killed."""
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    service = get_app()
    if service.reporter:
        service.reporter.start()

    def drain(*_: object) -> None:
        service.draining = True
        stop_accepting(listener)

    signal.signal(DRAIN, drain)
    return service


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
