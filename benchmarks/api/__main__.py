"""`python -m benchmarks.api [PART…]`: the rates API and its alternatives, in one run.

Parts: `throughput` (from the database and from the cache, against the first version, FastAPI and "hello"), `size`
(10,000,000 prices against 56,689), `region` (a year between regions against a month between ports), `restarts`,
`commits` (a thousand reads per second while two batches per second commit).
"""

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from benchmarks.api import commits as api_commits
from benchmarks.api.alternatives import PACKAGES, all_servers, ours
from benchmarks.api.data import busy_lanes, fill, server, wrk_version
from benchmarks.api.wrk import Wrk, WrkResult
from benchmarks.options import Options
from benchmarks.results import Measure, median, ratio, record
from benchmarks.servers import machine, warn_if_busy
from ratesflow.local.postgres.server import Postgres

SMALL, LARGE = 56_689, 10_000_000
MONTH = ("2021-01-01", "2021-01-31")
YEAR = ("2021-01-01", "2021-12-31")
LANES = 500
CONNECTIONS = (8, 32, 64)
Found = dict[str, Measure]


def main(arguments: list[str] | None = None) -> int:
    """Measure the given parts, or all; store the figures of each part as soon as it is done."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.api", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help="throughput, size, region, restarts, commits (default: all)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds; results are medians (default: 5)")
    parser.add_argument(
        "--large", type=int, default=LARGE, help=f"number of prices in the large database (default: {LARGE:,})"
    )
    parsed = parser.parse_args(arguments)
    if unknown := set(parsed.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    if shutil.which("wrk") is None:
        sys.exit("benchmarks.api needs the load generator wrk: apt-get install wrk")
    warn_if_busy()
    options = Options(rows=parsed.large, rounds=parsed.rounds)
    folder = Path(tempfile.mkdtemp(prefix="ratesflow-bench-api-"))
    try:
        with server(folder) as postgres:
            bench = Bench(postgres, folder, options)
            for name in parsed.parts or PARTS:
                options.log(f"api {name}: started")
                found = PARTS[name](bench)
                record(found, machine(), _versions(postgres))
                for measure, figures in found.items():
                    print(f"{measure:34} {figures.value:10.4g}   [{figures.low:.4g} to {figures.high:.4g}]", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


class Bench:
    """The databases of a run, created at first use."""

    def __init__(self, postgres: Postgres, folder: Path, options: Options) -> None:
        self.postgres, self.folder, self.options = postgres, folder, options
        self._urls: dict[str, str] = {}

    def small(self) -> str:
        """Return the URL of the small database: as many prices as the first version had, in one month."""
        return self._database("small", SMALL, days=31)

    def large(self) -> str:
        """Return the URL of the large database."""
        return self._database("large", self.options.rows or LARGE, days=None)

    def _database(self, name: str, rows: int, days: int | None) -> str:
        if name not in self._urls:
            self.options.log(f"api: creating a database with {rows:,} prices")
            self._urls[name] = fill(self.postgres, name, self.folder, rows, days, first=name == "small")
        return self._urls[name]

    def wrk(self, port: int, paths: list[str], connections: int = 8, seconds: float = 4, *, count: bool = False) -> Wrk:
        """Start sending requests."""
        return Wrk(self.folder, port, paths, connections=connections, seconds=seconds, count=count)

    def load(self, port: int, paths: list[str], connections: int = 8) -> WrkResult:
        """Send requests for some seconds. Raises RuntimeError if any of them fails."""
        result = self.wrk(port, paths, connections).result()
        if result.bad_statuses or result.errors:
            raise RuntimeError(
                f"port {port}: {result.bad_statuses} error responses, {result.errors} failed connections"
            )
        return result


def paths(lanes: list[tuple[str, str]], days: tuple[str, str]) -> list[str]:
    """Return one request for each lane."""
    return [f"/rates?date_from={days[0]}&date_to={days[1]}&orig_code={orig}&dest_code={dest}" for orig, dest in lanes]


def throughput(bench: Bench) -> Found:
    """Request a month of one of some hundred lanes from each alternative in turn, with few connections and with many.

    The result of each is its highest throughput, at the number of connections where it reaches that.
    """
    requests = paths(busy_lanes(bench.small(), LANES), MONTH)
    rates: dict[tuple[str, int], list[float]] = defaultdict(list)
    slowest: dict[tuple[str, int], list[float]] = defaultdict(list)
    with all_servers(bench.small(), bench.folder) as ports:
        for port in ports.values():
            bench.load(port, requests)  # warm up
        for number in range(bench.options.rounds):
            bench.options.log(f"api throughput: round {number + 1} of {bench.options.rounds}")
            for connections in CONNECTIONS:
                for name, port in ports.items():
                    result = bench.load(port, requests, connections)
                    rates[name, connections].append(result.rate)
                    slowest[name, connections].append(result.p99)
    best = {name: rates[name, max(CONNECTIONS, key=lambda each: median(rates[name, each]).value)] for name in ports}
    found = {f"api_{name}_per_s": median(samples) for name, samples in best.items()}
    found |= {f"api_{name}_per_s_{connections}": median(samples) for (name, connections), samples in rates.items()}
    found |= {f"api_{name}_p99_ms_{connections}": median(samples) for (name, connections), samples in slowest.items()}
    found |= {
        "api_cold_vs_first": ratio(best["cold"], best["first"]),
        "api_cold_vs_first_two_workers": ratio(best["cold"], best["first_2"]),
        "api_cold_vs_fastapi": ratio(best["cold"], best["fastapi"]),
        "api_cached_vs_hello": ratio(best["cached"], best["hello"]),
    }
    return found


def size(bench: Bench) -> Found:
    """Request a month of a lane without the cache, from the large and the small database."""
    urls = {"56k": bench.small(), "10m": bench.large()}
    samples: dict[str, list[float]] = defaultdict(list)
    with (
        ours(urls["56k"], bench.folder / "small.log", RATESFLOW_API_CACHE_MB="0") as (few, _),
        ours(urls["10m"], bench.folder / "large.log", RATESFLOW_API_CACHE_MB="0") as (many, _),
    ):
        cases = {"56k": (few, paths(busy_lanes(urls["56k"], LANES), MONTH)),
                "10m": (many, paths(busy_lanes(urls["10m"], LANES), MONTH))}  # fmt: skip
        for number in range(-1, bench.options.rounds):
            for name, (port, requests) in cases.items():
                result = bench.load(port, requests, connections=4)
                if number >= 0:
                    samples[name].append(result.p99)
    found = {f"api_p99_{name}_ms": median(values) for name, values in samples.items()}
    return found | {"api_p99_10m_vs_56k": ratio(samples["10m"], samples["56k"])}


def region(bench: Bench) -> Found:
    """Request a year between regions and a month between ports, one request at a time, without the cache."""
    url = bench.large()
    samples: dict[str, list[float]] = defaultdict(list)
    with ours(url, bench.folder / "region.log", RATESFLOW_API_CACHE_MB="0") as (port, _):
        cases = {"region_year": paths(busy_lanes(url, LANES, regions=True), YEAR),
                "port_month": paths(busy_lanes(url, LANES), MONTH)}  # fmt: skip
        for number in range(-1, bench.options.rounds):
            for name, requests in cases.items():
                result = bench.load(port, requests, connections=1)
                if number >= 0:
                    samples[name].append(1000 / result.rate)
    found = {f"api_{name}_ms": median(values) for name, values in samples.items()}
    return found | {"region_year_vs_port_month": ratio(samples["region_year"], samples["port_month"])}


def restarts(bench: Bench) -> Found:
    """Replace every worker under load, several times; then restart the database under load."""
    requests = paths(busy_lanes(bench.small(), LANES), MONTH)
    with ours(bench.small(), bench.folder / "restarts.log") as (port, pid):
        load = bench.wrk(port, requests, connections=32, seconds=24, count=True)
        for _ in range(3):
            time.sleep(0.5)
            os.kill(pid, signal.SIGHUP)
            time.sleep(7)
        reloads = load.result()
    with ours(bench.small(), bench.folder / "away.log", RATESFLOW_API_CACHE_MB="0") as (port, _):
        load = bench.wrk(port, requests, connections=16, seconds=10, count=True)
        time.sleep(2)
        bench.postgres.stop()
        time.sleep(1)
        bench.postgres.restart()
        back = bench.wrk(port, requests, connections=4, seconds=4, count=True).result()
        away = load.result()
    failed = reloads.failed + reloads.statuses[503] + away.failed + back.failed + back.statuses[503]
    return {
        "api_failed_in_restarts": _count(failed),
        "api_requests_in_restarts": _count(sum((reloads.statuses + away.statuses + back.statuses).values())),
        "api_503_while_database_restarts": _count(away.statuses[503]),
        "api_503_after_it_is_back": _count(back.statuses[503]),
    }


def commits(bench: Bench) -> Found:
    """Read while batches commit."""
    return api_commits.measure(bench.postgres, bench.folder, bench.options)


def _count(number: int) -> Measure:
    return Measure(number, number, number)


def _versions(postgres: Postgres) -> dict[str, str]:
    theirs = dict(package.split("==") for package in PACKAGES)
    found = {name: version(name) for name in ("falcon", "granian", "orjson", "psycopg2-binary")}
    return {
        "postgresql": str(postgres.version),
        "python": platform.python_version(),
        "wrk": wrk_version(),
        **theirs,
        **found,
    }


PARTS: dict[str, Callable[[Bench], Found]] = {
    "throughput": throughput,
    "size": size,
    "region": region,
    "restarts": restarts,
    "commits": commits,
}

if __name__ == "__main__":
    sys.exit(main())
