"""Continuous requests: failures, latency, and whether every response was correct at some moment."""

import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from urllib.request import urlopen

from tests.rehearsal.stage import StepFailedError
from tests.rehearsal.stages.expected import QUERY, Answer, as_answer

PAUSE_SECONDS = 0.05
TIMEOUT_SECONDS = 30
SHOWN = 3


class Traffic:
    """Requests the lane continuously from another thread, each time on a new connection, without retries."""

    def __init__(self, url: str) -> None:
        self._address = f"{url}/rates?{QUERY}"
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._send_requests, daemon=True)
        self._begun = time.monotonic()
        self.first_seen: dict[Answer, float] = {}
        self.failures: Counter[str] = Counter()
        self.requests = 0
        self.slowest = 0.0

    def __enter__(self) -> "Traffic":
        self._begun = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        if kind is None or issubclass(kind, Exception):
            self._thread.join(TIMEOUT_SECONDS + 1)

    def _send_requests(self) -> None:
        while not self._end.is_set():
            begun = time.monotonic()
            try:
                with urlopen(self._address, timeout=TIMEOUT_SECONDS) as response:
                    found = as_answer(json.load(response)["rates"])
            except Exception as error:  # noqa: BLE001 any failure that a client would see is counted
                self.failures[f"{type(error).__name__}: {error}"] += 1
            else:
                self.first_seen.setdefault(found, time.monotonic() - self._begun)
            self.requests += 1
            self.slowest = max(self.slowest, time.monotonic() - begun)
            self._end.wait(PAUSE_SECONDS)

    def seconds_until(self, answer: Answer) -> float | None:
        """Return the seconds until a response was first seen."""
        found = self.first_seen.get(answer)
        return None if found is None else round(found, 2)

    def check(self, right: Sequence[Answer]) -> None:
        """Raise StepFailedError if a request failed, or a response was never correct."""
        if self.failures:
            kinds = "; ".join(f"{count} × {message}" for message, count in self.failures.most_common(SHOWN))
            raise StepFailedError(f"{self.failures.total()} of {self.requests} requests failed: {kinds}")
        if wrong := [answer for answer in self.first_seen if answer not in right]:
            raise StepFailedError(f"{len(wrong)} responses were never correct, such as {wrong[0]}")
        if not self.requests:
            raise StepFailedError("no request was sent")

    def figures(self) -> dict[str, object]:
        """Return the figures for the report."""
        return {
            "requests": self.requests,
            "failed": self.failures.total(),
            "slowest": f"{self.slowest:.2f} s",
            "responses seen": len(self.first_seen),
        }
