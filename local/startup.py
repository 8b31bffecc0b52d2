"""How long to wait for a process that starts: as long as it works, on a slow machine too, but not for ever."""

import contextlib
import subprocess
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import psutil

from ratesflow.local.processes import StackError, last_lines

QUIET_SECONDS = 60.0
LONGEST_SECONDS = 600.0
_SHARE = 0.05  # of a processor: less may be nothing but the answers to those who ask whether it is ready


class Patience:
    """Whether to go on waiting for a process. A quiet one is given up sooner than one that uses the processor."""

    def __init__(self, pid: int) -> None:
        self._pid, self._quiet = pid, QUIET_SECONDS
        self._worked = 0.0
        self._end = time.monotonic() + LONGEST_SECONDS
        self._give_up = time.monotonic() + self._quiet

    def over(self) -> bool:
        """Tell whether the process has been quiet, or has worked, for too long."""
        now = time.monotonic()
        worked = self._work()
        if worked > self._worked + _SHARE * self._quiet:
            self._worked, self._give_up = worked, now + self._quiet
        return now > min(self._give_up, self._end)

    def _work(self) -> float:
        """Return how many seconds of a processor it and its children have used."""
        used = 0.0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._pid)
            for one in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    times = one.cpu_times()
                    used += times.user + times.system
        return max(used, self._worked)  # a child that has ended takes its time with it


def wait_until_ready(what: str, child: "subprocess.Popen[bytes]", log: Path, ready: Callable[[], bool]) -> None:
    """Wait until a process that was started is ready.

    Raises StackError, with the end of its log, if it ends, takes too long, or reports that it cannot become ready.
    """
    began, patience = time.monotonic(), Patience(child.pid)
    try:
        while not ready():
            if child.poll() is not None:
                raise NeverReadyError("did not start")
            if patience.over():
                raise NeverReadyError(f"runs, but was not ready after {time.monotonic() - began:.0f} s")
            time.sleep(0.05 if time.monotonic() < began + 5 else 0.5)
    except NeverReadyError as error:
        raise StackError(f"{what} {error}. The end of {log}:\n{last_lines(log)}") from None


class NeverReadyError(Exception):
    """A process that is not ready, and need not be waited for any longer."""


def answers(url: str) -> bool:
    """Return whether a process answers 200 at its health check. Raises NeverReadyError if it answers 500."""
    try:
        with urlopen(url, timeout=2) as answer:  # noqa: S310 our own address
            return bool(answer.status == HTTPStatus.OK)
    except HTTPError as error:
        if error.code == HTTPStatus.INTERNAL_SERVER_ERROR:
            raise NeverReadyError(f"runs, but {url} answers {error.code}") from None
        return False
    except (URLError, OSError):
        return False
