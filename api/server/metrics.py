"""Counts requests, and tells CloudWatch once in a while with a line of its embedded metric format.

(Amazon CloudWatch User Guide, "Specification: Embedded metric format": a line of JSON in a log becomes
metrics; a metric's value is a number, or a list of 100 at most.) Each worker writes its own line;
CloudWatch adds them up.
"""

import logging
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing.util import Finalize

import orjson

NAMESPACE = "ratesflow/api"
MAX_VALUES = 100
UNITS = {
    "Requests": "Count",
    "ClientErrors": "Count",
    "ServerErrors": "Count",
    "Refused": "Count",  # 503: the database away, or too much to do
    "Known": "Count",
    "Unchanged": "Count",
    "Joined": "Count",
    "Read": "Count",
    "Latency": "Milliseconds",  # a random sample of 100 requests at most
    "SlowestLatency": "Milliseconds",
    "ConnectionsBusy": "Count",  # the most at one moment
    "ConnectionsWaited": "Count",  # the most statements that waited for one; requests may share a statement
    "CacheEntries": "Count",
    "KnownBytes": "Bytes",
    "Outdated": "Count",  # looks at kept answers that a commit had changed: what commits cost, beside Known
    "DataAge": "Seconds",  # since the data version was last confirmed
}
SOURCES = {"known": "Known", "unchanged": "Unchanged", "joined": "Joined", "read": "Read"}

log = logging.getLogger("ratesflow.api")


class Metrics:
    """What happened since the last line, and `gauges`, which tell how things are now."""

    def __init__(self, gauges: Callable[[], Mapping[str, float]] = dict, environment: str = "none") -> None:
        self._gauges = gauges
        self._names = {"Environment": environment, "Service": "api"}
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._counts = dict.fromkeys(("Requests", "ClientErrors", "ServerErrors", "Refused", *SOURCES.values()), 0)
        self._sample: list[float] = []
        self._slowest = 0.0

    def observe(self, seconds: float, status: int, source: str) -> None:
        """Count one request, answered with `status` after `seconds`."""
        with self._lock:
            counts = self._counts
            seen = counts["Requests"] = counts["Requests"] + 1
            if source in SOURCES:
                counts[SOURCES[source]] += 1
            if status >= 400:
                counts["Refused" if status == 503 else "ServerErrors" if status >= 500 else "ClientErrors"] += 1
            if seconds > self._slowest:
                self._slowest = seconds
            # Each request is in the sample with the same chance (reservoir sampling).
            if seen <= MAX_VALUES:
                self._sample.append(seconds)
            elif (place := int(random.random() * seen)) < MAX_VALUES:  # noqa: S311
                self._sample[place] = seconds

    def line(self) -> bytes:
        """Return the line for what happened since the last one."""
        with self._lock:
            values: dict[str, object] = dict(self._counts)
            if self._sample:
                values["Latency"] = [round(seconds * 1000, 3) for seconds in self._sample]
                values["SlowestLatency"] = round(self._slowest * 1000, 3)
            self._begin()
        values |= self._gauges()
        told = [{"Name": name, "Unit": UNITS[name]} for name in values]
        directive = {"Namespace": NAMESPACE, "Dimensions": [list(self._names)], "Metrics": told}
        meta = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
        return orjson.dumps({"_aws": meta, **self._names, "process": os.getpid(), **values})


class Reporter:
    """A thread that writes the line of `metrics` every `seconds`, to standard output."""

    def __init__(self, metrics: Metrics, *, seconds: float) -> None:
        self.metrics = metrics
        self._seconds = seconds

    def start(self) -> None:
        """Begin; what is left is written when a worker process ends in order."""
        threading.Thread(target=self._run, name="metrics", daemon=True).start()
        Finalize(None, self.write, exitpriority=0)

    def write(self) -> None:
        """Write what happened since the last line."""
        sys.stdout.write(self.metrics.line().decode() + "\n")  # one call: lines of workers don't mix
        sys.stdout.flush()

    def _run(self) -> None:
        while True:
            time.sleep(self._seconds)
            try:
                self.write()
            except Exception:
                log.exception("the metrics cannot be written")
