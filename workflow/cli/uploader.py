"""Uploads files to the inbox, one after another, while earlier ones are already followed."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ratesflow.workflow.client.environment import Environment

STOP_SECONDS = 10.0


class StoppedError(Exception):
    """The user has stopped the uploads."""


@dataclass
class Upload:
    """A file that is uploaded: the bytes sent so far and, after the last one, the execution that its event starts.

    `label` names it in messages, `title` in rows of progress, and `key` is its key in the bucket.
    """

    file: Path
    bytes: int
    key: str
    label: str
    title: str
    sent: int = 0
    began: datetime | None = None
    seconds: float | None = None
    address: str = ""
    execution: str = ""
    error: Exception | None = None

    @property
    def fraction(self) -> float:
        """Return how much of it is sent, from 0 to 1."""
        return min(self.sent / self.bytes, 1.0) if self.bytes else 1.0


class Uploader(threading.Thread):
    """Uploads files in their order; each upload already sends several parts in parallel."""

    def __init__(self, environment: Environment, uploads: Sequence[Upload], force: bool) -> None:
        super().__init__(daemon=True)
        self._environment, self._uploads, self._force = environment, uploads, force
        self._stopped = threading.Event()

    def run(self) -> None:
        """Upload until all files are sent, one has failed, or `stop` was called."""
        for upload in self._uploads:
            if self._stopped.is_set():
                return
            try:
                self._send(upload)
            except Exception as error:  # noqa: BLE001 the main thread raises it
                upload.error = error
                return

    def stop(self) -> None:
        """Send nothing more, and abort the current file; an object is written completely or not at all."""
        self._stopped.set()
        self.join(STOP_SECONDS)

    def _send(self, file: Upload) -> None:
        from ratesflow.workflow.client.upload import upload

        lock = threading.Lock()

        def count(sent: int) -> None:
            if self._stopped.is_set():
                raise StoppedError
            with lock:  # the parts of an upload are sent by several threads
                file.sent += sent

        file.began = datetime.now(UTC)
        created = upload(self._environment, file.file, key=file.key, force=self._force, sent=count)
        file.seconds = (datetime.now(UTC) - file.began).total_seconds()
        file.address = f"s3://{created.bucket}/{created.key}"
        file.execution = created.execution_name
