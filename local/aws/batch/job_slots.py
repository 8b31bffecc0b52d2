"""The slots that Batch jobs run in, so many at a time, first come first served."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import Protocol

from ratesflow.local.aws.batch.job_records import record_directory
from ratesflow.local.aws.settings import Settings

_STOPPED = "The embedded AWS was stopped"


class SlotJob(Protocol):
    """A job, as far as its slot knows it."""

    def attempt_once(self) -> bool:
        """Run one attempt; return whether the job is to run again."""

    def terminate(self, reason: str) -> None:
        """End the attempt that runs."""

    def finish(self, status: str, reason: str | None) -> None:
        """Set the final status."""


class Slots:
    """The threads that run jobs, a few at a time, first come first served."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.records = record_directory(settings.data_dir)
        self._waiting: SimpleQueue[SlotJob] = SimpleQueue()
        self._running: set[SlotJob] = set()
        self._closed = threading.Event()
        for number in range(settings.slots):
            threading.Thread(target=self._work, name=f"slot-{number}", daemon=True).start()

    def enqueue(self, job: SlotJob) -> None:
        """Runs the job when its turn comes."""
        self._waiting.put(job)

    def close(self) -> None:
        """Ends the jobs that run, and starts no more."""
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
            # This thread never ends, which jobs rely on: the kernel kills a process with the thread that began it.
            self._running.add(job)
            try:
                again = job.attempt_once()
            except Exception as error:  # noqa: BLE001 - whatever went wrong, the job must not hang in RUNNING
                again = False
                job.finish("FAILED", f"{type(error).__name__}: {error}")
            finally:
                self._running.discard(job)
            if again:
                self.enqueue(job)
