"""``python -m ratesflow.api`` as a process, and a service without an HTTP server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import requests

from ratesflow.api.cache.monotonic_reader import MonotonicReader
from ratesflow.api.cache.response_cache import ResponseCache
from ratesflow.api.cache.version_poller import VersionPoller
from ratesflow.api.models.rates import RatesReader
from ratesflow.api.models.versions import LatestVersion
from ratesflow.api.postgres.pool import ConnectionPool
from ratesflow.api.postgres.queries import session
from ratesflow.api.postgres.reader import DatabaseReader
from ratesflow.api.resources.rates import RatesResource
from ratesflow.api.server.app import create_app
from ratesflow.api.server.fast_path import FastPath
from ratesflow.api.server.service import Service as Application
from ratesflow.local.processes import free_port

ROOT = Path(__file__).parents[2]


@dataclass
class Service:
    """``python -m ratesflow.api`` as a separate process."""

    database_url: str
    port: int = field(default_factory=free_port)
    workers: int = 2
    process: subprocess.Popen[str] | None = None

    def start(self, **environ: str) -> None:
        """Start it and wait until it responds."""
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ratesflow.api", "--host=127.0.0.1", f"--port={self.port}",
             f"--workers={self.workers}"],
            cwd=ROOT, env=os.environ | {"DATABASE_URL": self.database_url} | environ,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        wait_until(lambda: self.get("/health/live").status_code == 200)

    def get(self, path: str, **options: object) -> requests.Response:
        """Send a request on a new connection."""
        return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=10, **options)  # type: ignore[arg-type]

    def worker_pids(self) -> list[int]:
        """Return the processes that serve requests."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def stop(self) -> tuple[str, str]:
        """Send SIGTERM, wait for the end, and return the output: metrics and log."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=30)


class NoVersion:
    """A reader without a data version, so that no response is cached."""

    def poll_version(self, _seconds: float) -> object:
        """Fail."""
        raise AssertionError("nothing should poll")

    def close_idle(self) -> None:
        """Do nothing."""


def uncached(reader: RatesReader, **options: object) -> Application:
    """Return the service on a reader, without a cache: every request reads the database."""
    latest = LatestVersion()
    cache = ResponseCache(latest, VersionPoller(NoVersion(), latest), max_bytes=0, seconds=5)  # type: ignore[arg-type]
    rates = RatesResource(reader, cache)
    return Application(create_app(reader, cache, rates), FastPath(cache, rates), **options)  # type: ignore[arg-type]


def database_reader(connections: ConnectionPool) -> MonotonicReader:
    """Return the reader that the service uses."""
    latest = LatestVersion()
    return MonotonicReader(DatabaseReader(connections, latest), latest)


def connections_to(url: str) -> ConnectionPool:
    """Return a connection pool like that of the service."""
    return ConnectionPool(url, session(5))


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until a condition holds; a failed connection counts as false."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except requests.ConnectionError:
            pass
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
