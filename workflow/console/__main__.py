"""`python -m ratesflow.workflow.console --home DIR --port N`: the console, as the embedded stack starts it.

With `--env NAME`, as `ratesflow console` starts it, it serves an environment on AWS; its address then has a key.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from ratesflow.extras import MissingExtraError, requires_extra
from ratesflow.local.parent_death_signal import die_with_parent
from ratesflow.local.processes import require_free_port
from ratesflow.workflow.client.environment import find_environment
from ratesflow.workflow.client.errors import RatesflowError


def main() -> int:
    """Serve until SIGTERM or Ctrl-C; the addresses of an embedded stack are read again whenever they change."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    die_with_parent(signal.SIGTERM, os.getppid())
    parser = argparse.ArgumentParser(prog="python -m ratesflow.workflow.console", description=__doc__)
    parser.add_argument("--home", type=Path, help="the folder of an embedded stack")
    parser.add_argument("--env", help="the name of an environment on AWS")
    parser.add_argument("--port", type=int, required=True, help="where to listen on 127.0.0.1")
    options = parser.parse_args()
    try:
        with requires_extra("local", "The console"):
            from ratesflow.workflow.console.serving import new_key, serve
    except MissingExtraError as error:
        return _error(str(error))
    if options.home:
        serve(lambda: find_environment(options.home), options.port, ready=lambda address: print(address, flush=True))
        return 0
    try:
        require_free_port(options.port, "--port")
        found, key = find_environment(None, options.env), new_key()
        ready: Callable[[str], None] = lambda address: print(f"{address}?key={key}", flush=True)  # noqa: E731
        serve(lambda: found, options.port, key=key, ready=ready)
    except (RatesflowError, OSError) as error:
        return _error(str(error))
    return 0


def _error(message: str) -> int:
    print(f"Error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
