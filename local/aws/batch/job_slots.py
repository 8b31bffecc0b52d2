"""The slots in which Batch jobs run: a limited number at a time, first in, first out."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import Protocol

from ratesflow.local.aws.batch.job_records import record_directory
from ratesflow.local.aws.settings import Settings

_STOPPED = "The embedded AWS was stopped"


class SlotJob(Protocol):
    """The methods of a job that its slot calls."""

    def attempt_once(self) -> bool:
        """Run one attempt; return whether another one is due."""

    def terminate(self, reason: str) -> None:
        """Terminate the running attempt."""

    def finish(self, status: str, reason: str | None) -> None:
        """Set the final status."""


class Slots:
    """The threads that run jobs, first in, first out."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.records = record_directory(settings.data_dir)
        self._waiting: SimpleQueue[SlotJob] = SimpleQueue()
        self._running: set[SlotJob] = set()
        self._closed = threading.Event()
        for number in range(settings.slots):
            threading.Thread(target=self._work, name=f"slot-{number}", daemon=True).start()

    def enqueue(self, job: SlotJob) -> None:
        """Run the job when a slot is free."""
        self._waiting.put(job)

    def close(self) -> None:
        """Terminate the running jobs, and start no more."""
        self._closed.set()
        for job in list(self._running):
            job.terminate(_STOPPED)
        limit = time.monotonic() + self.settings.kill_grace_seconds + 2
        while self._running and time.monotonic() < limit:
            time.sleep(0.02)

    def _work(self) -> None:
        while True:
            job = self._waiting.get()
            if self._closed.is_set():
                continue
            # Jobs rely on this thread never ending: the kernel kills a process with the thread that started it.
            self._running.add(job)
            try:
                again = job.attempt_once()
            except Exception as error:  # noqa: BLE001 - after any error, the job must not stay RUNNING
                again = False
                job.finish("FAILED", f"{type(error).__name__}: {error}")
            finally:
                self._running.discard(job)
            if again:
                self.enqueue(job)
