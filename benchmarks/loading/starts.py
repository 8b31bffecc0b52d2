"""Seconds until the embedded stack is up, and until a small batch is visible in it, with warm and cold starts."""

import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.loading import lanes
from benchmarks.options import Options
from benchmarks.results import Measure, median, ratio
from benchmarks.servers import Servers
from ratesflow.local.aws.batch.warm_start import SWITCH

ROWS = 20_000


def measure(servers: Servers, options: Options) -> dict[str, Measure]:
    """Start a stack and ingest small batches, warm and cold in turn; the first batch of each stack does not count."""
    home = servers.folder / "starts"
    ups: list[float] = []
    visible: dict[str, list[float]] = {"warm": [], "cold": []}
    for number in range(options.rounds):
        options.log(f"starts: round {number + 1}")
        servers.settle()
        began = time.perf_counter()
        _run(home / str(number), "up", "--detach", "--api-port", "0", "--aws-port", "0", "--console-port", "0")
        ups.append(time.perf_counter() - began)
        try:
            _ingest(home / str(number), options.rows or ROWS, seed=3 * number)
            for offset, start in enumerate(visible, start=1):
                switch = home / str(number) / "aws" / SWITCH
                switch.touch() if start == "cold" else switch.unlink(missing_ok=True)
                visible[start].append(_ingest(home / str(number), options.rows or ROWS, seed=3 * number + offset))
        finally:
            _run(home / str(number), "down")
    return options.named({
        "start_up_seconds": median(ups),
        "start_visible_seconds": median(visible["warm"]),
        "start_visible_cold_seconds": median(visible["cold"]),
        "start_visible_warm_vs_cold": ratio(visible["warm"], visible["cold"]),
    })  # fmt: skip


def _ingest(home: Path, rows: int, seed: int) -> float:
    """Ingest a batch; return the seconds from the start of its execution to the end, as the command reports them."""
    path = lanes.write(home / f"batch-{seed}.csv", rows, seed=seed)
    (line,) = [json.loads(line) for line in _run(home, "ingest", str(path), "--json").splitlines()]
    if line["outcome"] != "committed":
        raise RuntimeError(f"the batch of seed {seed} was not committed: {line}")
    return float(line["seconds"])


def _run(home: Path, *arguments: str) -> str:
    command = [sys.executable, "-P", "-m", "ratesflow", "--home", str(home), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout
