"""The slots that Batch jobs run in, so many at a time, first come first served."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

from ratesflow.local.aws.batch.job_records import record_directory
from ratesflow.local.aws.settings import Settings

if TYPE_CHECKING:
    from ratesflow.local.aws.batch.process_job import ProcessJob

_STOPPED = "The embedded AWS was stopped"


class Slots:
    """The threads that run jobs, a few at a time, first come first served."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.records = record_directory(settings.data_dir)
        self._waiting: SimpleQueue[ProcessJob] = SimpleQueue()
        self._running: set[ProcessJob] = set()
        self._closed = threading.Event()
        for number in range(settings.slots):
            threading.Thread(target=self._work, name=f"slot-{number}", daemon=True).start()

    def enqueue(self, job: ProcessJob) -> None:
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
