"""How long to wait for a process that starts: as long as it works, on a slow machine too, but not for ever."""

import contextlib
import time

import psutil

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
