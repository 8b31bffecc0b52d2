"""Runs the embedded AWS in the foreground: `python -m ratesflow.local.aws --port 4566 --data DIR`."""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from ratesflow.local.aws.server import EX_UNAVAILABLE, StartError, serve
from ratesflow.local.aws.settings import Settings, default_slots
from ratesflow.local.parent_death_signal import die_with_parent

_SIGNALS = {signal.SIGTERM, signal.SIGINT}
_RARELY = (50_000, 20, 20)  # collections of garbage took a seventh of the time of moto's import


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; print `ready` once requests are accepted. Return 69 if it cannot start."""
    # Blocked early and in every thread, so that a signal during the start is not lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    gc.set_threshold(*_RARELY)
    die_with_parent(signal.SIGTERM, os.getppid())
    try:
        server = serve(_read_settings(arguments))
    except StartError as error:
        print(f"ratesflow.local.aws: {error}", file=sys.stderr)
        return EX_UNAVAILABLE
    print("ready", flush=True)
    signal.sigwait(_SIGNALS)
    server.close()
    return 0


def _read_settings(arguments: Sequence[str] | None) -> Settings:
    parser = argparse.ArgumentParser(prog="python -m ratesflow.local.aws", description=__doc__)
    parser.add_argument("--port", type=int, default=4566, help="port on 127.0.0.1 (4566)")
    parser.add_argument("--data", type=Path, required=True, help="directory of objects and job records")
    parser.add_argument("--job-env-file", type=Path, help="JSON object of environment variables for every job")
    parser.add_argument("--poll", type=float, default=0.1, help="seconds between two polls of a .sync job (0.1)")
    parser.add_argument("--slots", type=int, default=default_slots(), help="jobs that run at a time (number of cores)")
    parser.add_argument("--kill-grace", type=float, default=5.0, help="seconds from SIGTERM to SIGKILL (5)")
    given = parser.parse_args(arguments)
    return Settings(
        port=given.port,
        data_dir=given.data.resolve(),
        job_environment=json.loads(given.job_env_file.read_text()) if given.job_env_file else {},
        poll_seconds=given.poll,
        slots=given.slots,
        kill_grace_seconds=given.kill_grace,
    )


if __name__ == "__main__":
    sys.exit(main())
