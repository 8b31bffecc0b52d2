"""Sends files to the inbox, one after another, while others of them are watched already."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ratesflow.workflow.client.environment import Environment

END_SECONDS = 10.0


class StoppedError(Exception):
    """A person has stopped the sending."""


@dataclass
class Upload:
    """A file on its way: how many of its bytes have gone and, once they all have, what its event starts.

    `shown` is how a person named it, `title` what tells it from the others, and `key` where it goes.
    """

    file: Path
    bytes: int
    key: str
    shown: str
    title: str
    gone: int = 0
    began: datetime | None = None
    seconds: float | None = None
    address: str = ""
    execution: str = ""
    error: Exception | None = None

    @property
    def share(self) -> float:
        """Return how much of it has gone, from 0 to 1."""
        return min(self.gone / self.bytes, 1.0) if self.bytes else 1.0


class Uploader(threading.Thread):
    """Uploads parcels in their order; each upload sends several parts at once already."""

    def __init__(self, environment: Environment, parcels: Sequence[Upload], force: bool) -> None:
        super().__init__(daemon=True)
        self._environment, self._parcels, self._force = environment, parcels, force
        self._stopped = threading.Event()
        environment.client("s3")  # made here, once: making clients is not for two threads

    def run(self) -> None:
        """Send until all have gone, one could not be sent, or `stop` was called."""
        for parcel in self._parcels:
            if self._stopped.is_set():
                return
            try:
                self._send(parcel)
            except Exception as error:  # noqa: BLE001 whatever it was, the main thread tells it
                parcel.error = error
                return

    def stop(self) -> None:
        """Send nothing more, and give up the file that is being sent; an object is there wholly or not at all."""
        self._stopped.set()
        self.join(END_SECONDS)

    def _send(self, parcel: Upload) -> None:
        from ratesflow.workflow.client.upload import upload
        from ratesflow.workflow.trigger import ObjectCreated

        lock = threading.Lock()

        def count(sent: int) -> None:
            if self._stopped.is_set():
                raise StoppedError
            with lock:  # the parts of an upload go by several threads
                parcel.gone += sent

        parcel.began = datetime.now(UTC)
        lies = upload(self._environment, parcel.file, key=parcel.key, force=self._force, sent=count)
        parcel.seconds = (datetime.now(UTC) - parcel.began).total_seconds()
        parcel.address = f"s3://{lies['bucket']}/{lies['key']}"
        parcel.execution = ObjectCreated(**lies).execution_name
