"""Clients of the API at a rate, steady or in bursts, who note how long after it was due each answer came."""

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
class Noted:
    """What one kind of client saw: seconds of answers, and every outcome."""

    seconds: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)

    def milliseconds(self, percent: int) -> float:
        """Return a percentile of the answers' times."""
        return quantiles(self.seconds, n=100)[percent - 1] * 1000


def steady(rate: float, seconds: float) -> Iterator[float]:
    """Yield the moments of requests, in seconds from the start, evenly."""
    for number in range(int(rate * seconds)):
        yield number / rate


def bursts(rate: float, seconds: float, size: int) -> Iterator[float]:
    """Yield the same number of moments, so many at once."""
    for number in range(int(rate * seconds)):
        yield (number // size) * size / rate


class Flood:
    """Sends requests when they are due, over `clients` connections; a late answer makes no later request rarer."""

    def __init__(self, url: str, paths: list[str], moments: Iterator[float], clients: int = 8, seed: int = 1) -> None:
        self._address, self._paths = urlsplit(url).netloc, paths
        self._moments, self._lock = moments, threading.Lock()
        self._random = random.Random(seed)
        self.noted = Noted()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def start(self) -> "Flood":
        """Begin."""
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def join(self) -> Noted:
        """Wait for the last answer."""
        for thread in self._threads:
            thread.join()
        return self.noted

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=10)
        while (due := self._next()) is not None:
            time.sleep(max(0.0, due - time.monotonic()))
            outcome = self._ask(connection, self._random.choice(self._paths))
            with self._lock:
                # From when it was due: a client that waits for the one before does not make the service look fast.
                self.noted.seconds.append(time.monotonic() - due)
                self.noted.outcomes[outcome] += 1

    def _next(self) -> float | None:
        with self._lock:
            moment = next(self._moments, None)
        return None if moment is None else self._began + moment

    def _ask(self, connection: http.client.HTTPConnection, path: str) -> str:
        for last in (False, True):
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                answer.read()
                return str(answer.status)
            except (OSError, http.client.HTTPException) as error:
                # A connection that the server had ended is opened again, once, as every client's pool does.
                connection.close()
                if last:
                    return type(error).__name__
        raise AssertionError
