"""API clients with a fixed request rate, steady or in bursts, which record the latency from each request's due time."""

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import quantiles
from urllib.parse import urlsplit


@dataclass
class Recorded:
    """The latencies in seconds and the outcomes of one kind of client."""

    seconds: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)

    def milliseconds(self, percent: int) -> float:
        """Return a percentile of the latencies."""
        return quantiles(self.seconds, n=100)[percent - 1] * 1000


def steady(rate: float, seconds: float) -> Iterator[float]:
    """Yield evenly spaced due times of requests, in seconds from the start."""
    for number in range(int(rate * seconds)):
        yield number / rate


def bursts(rate: float, seconds: float, size: int) -> Iterator[float]:
    """Yield the same number of due times in bursts of `size`."""
    for number in range(int(rate * seconds)):
        yield (number // size) * size / rate


class Flood:
    """Sends requests at their due times over `clients` connections; a slow response does not reduce the rate."""

    def __init__(self, url: str, paths: list[str], moments: Iterator[float], clients: int = 8, seed: int = 1) -> None:
        self._address, self._paths = urlsplit(url).netloc, paths
        self._moments, self._lock = moments, threading.Lock()
        self._random = random.Random(seed)
        self.recorded = Recorded()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def start(self) -> "Flood":
        """Start the clients."""
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def join(self) -> Recorded:
        """Wait for the last response."""
        for thread in self._threads:
            thread.join()
        return self.recorded

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=10)
        while (due := self._next()) is not None:
            time.sleep(max(0.0, due - time.monotonic()))
            outcome = self._request(connection, self._random.choice(self._paths))
            with self._lock:
                # From the due time, so that waiting for the previous response counts as latency.
                self.recorded.seconds.append(time.monotonic() - due)
                self.recorded.outcomes[outcome] += 1

    def _next(self) -> float | None:
        with self._lock:
            moment = next(self._moments, None)
        return None if moment is None else self._began + moment

    def _request(self, connection: http.client.HTTPConnection, path: str) -> str:
        for last in (False, True):
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                answer.read()
                return str(answer.status)
            except (OSError, http.client.HTTPException) as error:
                # A connection that the server has closed is reopened once, as client pools do.
                connection.close()
                if last:
                    return type(error).__name__
        raise AssertionError
