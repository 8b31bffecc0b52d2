"""Kills or resumes tasks that have suspended themselves at a fault point."""

import random
import signal
import threading
from contextlib import suppress
from pathlib import Path

import psutil

from tests.faults.campaign.chaos_stack import ChaosStack


class FaultPoints(threading.Thread):
    """Finds tasks that are suspended at a fault point, and kills or resumes them."""

    def __init__(self, chaos: ChaosStack, seed: int) -> None:
        super().__init__(name="fault-points", daemon=True)
        self.chaos, self.rng = chaos, random.Random(seed)
        self.killed = self.resumed = 0
        self._end = threading.Event()

    def stop(self) -> None:
        """Stop."""
        self._end.set()
        self.join(10)

    def run(self) -> None:
        """Check all tasks until `stop`."""
        while not self._end.wait(0.05):
            for process in self.chaos.tasks():
                with suppress(psutil.Error, OSError):
                    self._kill_or_resume(process)

    def _kill_or_resume(self, process: psutil.Process) -> None:
        if process.status() != psutil.STATUS_STOPPED or process.pid in self.chaos.paused:
            return
        fault = b"RATESFLOW_FAULT_INJECTION=wait" in Path(f"/proc/{process.pid}/environ").read_bytes()
        if fault and not self.chaos.quiet.is_set() and self.rng.random() < 0.6:
            process.send_signal(signal.SIGKILL)
            self.killed += 1
        else:
            process.send_signal(signal.SIGCONT)
            self.resumed += fault
