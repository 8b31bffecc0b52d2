"""How long to wait for a starting process: while it uses the processor, up to a limit."""

import contextlib
import time

import psutil

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
