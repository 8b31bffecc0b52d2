"""How long to wait for a starting process: while it uses the processor, up to a limit."""

import contextlib
import subprocess
import time
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import psutil

from ratesflow.local.processes import StackError, last_lines

QUIET_SECONDS = 60.0
LONGEST_SECONDS = 600.0
_BUSY_SHARE = 0.05  # of a processor: answering readiness checks alone may use up to this much


class StartTimeout:
    """The time limit of a starting process: shorter when it is idle than when it uses the processor."""

    def __init__(self, pid: int) -> None:
        self._pid, self._quiet_seconds = pid, QUIET_SECONDS
        self._used = 0.0
        self._end = time.monotonic() + LONGEST_SECONDS
        self._quiet_end = time.monotonic() + self._quiet_seconds

    def expired(self) -> bool:
        """Return whether the process has been idle, or has been starting, for too long."""
        now = time.monotonic()
        used = self._processor_seconds()
        if used > self._used + _BUSY_SHARE * self._quiet_seconds:
            self._used, self._quiet_end = used, now + self._quiet_seconds
        return now > min(self._quiet_end, self._end)

    def _processor_seconds(self) -> float:
        """Return how many processor seconds the process and its children have used."""
        used = 0.0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._pid)
            for each in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    times = each.cpu_times()
                    used += times.user + times.system
        return max(used, self._used)  # the time of an ended child is no longer counted


def wait_until_ready(what: str, child: "subprocess.Popen[bytes]", log: Path, ready: Callable[[], bool]) -> None:
    """Wait until a process that was started is ready.

    Raises StackError, with the end of its log, if it ends, takes too long, or reports that it cannot become ready.
    """
    began, timeout = time.monotonic(), StartTimeout(child.pid)
    try:
        while not ready():
            if child.poll() is not None:
                raise NeverReadyError("did not start")
            if timeout.expired():
                raise NeverReadyError(f"is running, but was not ready after {time.monotonic() - began:.0f} s")
            time.sleep(0.05 if time.monotonic() < began + 5 else 0.5)
    except NeverReadyError as error:
        raise StackError(f"{what} {error}. The end of {log}:\n{last_lines(log)}") from None


class NeverReadyError(Exception):
    """A process that is not ready, and need not be waited for any longer."""


def responds(url: str) -> bool:
    """Return whether the health check of a process responds with 200. Raises NeverReadyError if it is 500."""
    try:
        with urlopen(url, timeout=2) as response:  # noqa: S310 our own address
            return bool(response.status == HTTPStatus.OK)
    except HTTPError as error:
        if error.code == HTTPStatus.INTERNAL_SERVER_ERROR:
            raise NeverReadyError(f"is running, but {url} responds with {error.code}") from None
        return False
    except (URLError, OSError, HTTPException):
        return False
