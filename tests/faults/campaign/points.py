"""Tasks that stand still at a fault point: killed there, or let go on."""

import random
import signal
import threading
from contextlib import suppress
from pathlib import Path

import psutil

from tests.faults.campaign.chaos_stack import Field


class Points(threading.Thread):
    """Finds tasks that stand still at a fault point, and kills them there or lets them go on."""

    def __init__(self, field: Field, seed: int) -> None:
        super().__init__(name="points", daemon=True)
        self.field, self.rng = field, random.Random(seed)
        self.killed = self.held = 0
        self._end = threading.Event()

    def stop(self) -> None:
        """Look no more."""
        self._end.set()
        self.join(10)

    def run(self) -> None:
        """Look until told to stop."""
        while not self._end.wait(0.05):
            for process in self.field.tasks():
                with suppress(psutil.Error, OSError):
                    self._look(process)

    def _look(self, process: psutil.Process) -> None:
        if process.status() != psutil.STATUS_STOPPED or process.pid in self.field.paused:
            return
        fault = b"RATESFLOW_FAULT_INJECTION=wait" in Path(f"/proc/{process.pid}/environ").read_bytes()
        if fault and not self.field.quiet.is_set() and self.rng.random() < 0.6:
            process.send_signal(signal.SIGKILL)
            self.killed += 1
        else:
            process.send_signal(signal.SIGCONT)
            self.held += fault
