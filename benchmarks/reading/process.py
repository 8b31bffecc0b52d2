"""Reader processes during a measurement, and the times of their reads by phase."""

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.results import Measure, median, percentile, ratio
from benchmarks.servers import Servers

READERS = 2
READS_A_SECOND = 200  # of each reader
MIN_SAMPLES = 100  # for a 99th percentile


@dataclass
class ReadTimes:
    """Milliseconds of every read, by phase and round."""

    phases: list[tuple[str, float, float]] = field(default_factory=list)
    samples: list[tuple[float, float]] = field(default_factory=list)
    errors: int = 0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Assign the reads that begin inside the block to one round of a phase."""
        began = time.monotonic()
        yield
        self.phases.append((name, began, time.monotonic()))

    def rounds(self, share: float) -> dict[str, list[float]]:
        """Return by phase a percentile of each round with enough reads."""
        found: dict[str, list[float]] = defaultdict(list)
        for name, began, ended in self.phases:
            within = [milliseconds for at, milliseconds in self.samples if began <= at < ended]
            if len(within) >= MIN_SAMPLES:
                found[name].append(percentile(within, share))
        return found

    def figures(self, prefix: str, idle: str) -> dict[str, Measure]:
        """Return the median and 99th percentile of each phase, and their ratios to the phase `idle`."""
        found: dict[str, Measure] = {}
        for share, name in ((0.5, "p50"), (0.99, "p99")):
            rounds = self.rounds(share)
            for phase, values in rounds.items():
                found[f"{prefix}_{name}_{phase}_ms"] = median(values)
                if phase != idle:
                    found[f"{prefix}_{name}_{phase}_vs_idle"] = ratio(values, rounds[idle])
        return found


@contextmanager
def readers(servers: Servers, database: str) -> Iterator[ReadTimes]:
    """Run readers at a steady rate; the result has their times once they end."""
    times = ReadTimes()
    files = [servers.folder / f"reader-{number}.json" for number in range(READERS)]
    children = [_start(servers.url(database, "api"), path, number) for number, path in enumerate(files)]
    try:
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        time.sleep(1)
        yield times
    finally:
        for child in children:
            child.communicate(timeout=30)
    for path in files:
        result = json.loads(path.read_text(encoding="utf-8"))
        times.samples += [(at, milliseconds) for at, milliseconds in result["samples"]]
        times.errors += result["errors"]


def _start(url: str, path: Path, seed: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "benchmarks.reading.reader", url, str(path), str(READS_A_SECOND), str(seed)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
