"""`python -m local.console --home DIR --port N`: the console of an embedded stack, as its supervisor starts it."""

import argparse
import os
import signal
import sys
from pathlib import Path

from local.aws.death import die_with_parent
from local.console.serving import serve
from workflow.environment import find_environment


def main() -> int:
    """Serve until SIGTERM; the stack's addresses are read anew whenever they change."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    die_with_parent(signal.SIGTERM, os.getppid())
    parser = argparse.ArgumentParser(prog="python -m local.console", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the folder of the stack")
    parser.add_argument("--port", type=int, required=True, help="where to listen on 127.0.0.1")
    options = parser.parse_args()
    serve(lambda: find_environment(options.home), options.port, tell=lambda address: print(address, flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
