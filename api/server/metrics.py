"""Counts requests, and writes them to the log in CloudWatch's embedded metric format.

A line of JSON in a log becomes metrics; the value of a metric is a number, or a list of at most 100 (Amazon CloudWatch
User Guide, "Specification: Embedded metric format"). Each worker writes its own lines; CloudWatch adds them up.
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
    "Unavailable": "Count",  # 503: the database unavailable, or the service overloaded
    "CacheHits": "Count",
    "NotModified": "Count",
    "Coalesced": "Count",  # waited for the same read by another request
    "CacheMisses": "Count",
    "Latency": "Milliseconds",  # a random sample of at most 100 requests
    "SlowestLatency": "Milliseconds",
    "ConnectionsBusy": "Count",  # the maximum at one moment
    "ConnectionsWaited": "Count",  # the maximum of statements that waited for one; requests may share a statement
    "CacheEntries": "Count",
    "CacheBytes": "Bytes",
    "CacheInvalidated": "Count",  # lookups of entries that a commit had invalidated: the cost of commits
    "DataAge": "Seconds",  # since the data version was last confirmed
}
SOURCES = {"hit": "CacheHits", "not_modified": "NotModified", "coalesced": "Coalesced", "miss": "CacheMisses"}

log = logging.getLogger("ratesflow.api")


class Metrics:
    """Counts since the last line, and `gauges`, which return current values."""

    def __init__(self, gauges: Callable[[], Mapping[str, float]] = dict, environment: str = "none") -> None:
        self._gauges = gauges
        self._names = {"Environment": environment, "Service": "api"}
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._counts = dict.fromkeys(("Requests", "ClientErrors", "ServerErrors", "Unavailable", *SOURCES.values()), 0)
        self._sample: list[float] = []
        self._slowest = 0.0

    def observe(self, seconds: float, status: int, source: str) -> None:
        """Count one request whose response had `status` and took `seconds`."""
        with self._lock:
            counts = self._counts
            seen = counts["Requests"] = counts["Requests"] + 1
            if source in SOURCES:
                counts[SOURCES[source]] += 1
            if status >= 400:
                counts["Unavailable" if status == 503 else "ServerErrors" if status >= 500 else "ClientErrors"] += 1
            if seconds > self._slowest:
                self._slowest = seconds
            # Each request is in the sample with the same probability (reservoir sampling).
            if seen <= MAX_VALUES:
                self._sample.append(seconds)
            elif (place := int(random.random() * seen)) < MAX_VALUES:  # noqa: S311
                self._sample[place] = seconds

    def line(self) -> bytes:
        """Return the line for the time since the last one."""
        with self._lock:
            values: dict[str, object] = dict(self._counts)
            if self._sample:
                values["Latency"] = [round(seconds * 1000, 3) for seconds in self._sample]
                values["SlowestLatency"] = round(self._slowest * 1000, 3)
            self._begin()
        values |= self._gauges()
        metrics = [{"Name": name, "Unit": UNITS[name]} for name in values]
        directive = {"Namespace": NAMESPACE, "Dimensions": [list(self._names)], "Metrics": metrics}
        meta = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
        return orjson.dumps({"_aws": meta, **self._names, "process": os.getpid(), **values})


class Reporter:
    """A thread that writes a line of `metrics` to standard output every `seconds`."""

    def __init__(self, metrics: Metrics, *, seconds: float) -> None:
        self.metrics = metrics
        self._seconds = seconds

    def start(self) -> None:
        """Start; the last line is written when the worker process exits normally."""
        threading.Thread(target=self._run, name="metrics", daemon=True).start()
        Finalize(None, self.write, exitpriority=0)

    def write(self) -> None:
        """Write the line for the time since the last one."""
        sys.stdout.write(self.metrics.line().decode() + "\n")  # one call: lines of workers don't mix
        sys.stdout.flush()

    def _run(self) -> None:
        while True:
            time.sleep(self._seconds)
            try:
                self.write()
            except Exception:
                log.exception("the metrics cannot be written")
