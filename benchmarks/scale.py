"""`python -m benchmarks.scale`: an estimate of the limits of a day of many batches, and of a batch of a billion rows.

It simulates a day: batches arrive at random, half of them within two hours. Each passes the quotas of AWS (token
buckets), and waits for a free slot, for a container to start, and for the database. `docs/scale.md` has the source
of each figure, and discusses the results.
"""

import argparse
import heapq
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

DAY = 86_400.0


@dataclass(frozen=True)
class Figures:
    """The input: what is measured, what AWS sets, and what is assumed. Times are in seconds."""

    # Measured on a machine with 2 cores, in `benchmarks/results`: load_1m_work_validate_s, load_1m_work_load_s; for the
    # whole database, shards_4m_load_2_s, with the loaders on the same cores; commit_ms_10m.
    validate_rows: float = 1_000_000 / 0.71
    copy_rows: float = 1_000_000 / 0.83
    database_rows: float = 4_000_000 / 2.34
    commit: float = 0.0022
    # Bytes per price in the table, and about as many in the write-ahead log.
    row_bytes: float = 60.0
    # Set by AWS.
    submit_rate: float = 50.0
    launch_rate: float = 20.0
    launch_burst: float = 100.0
    most_shards: int = 10_000
    # Assumed, see docs/scale.md. Compaction has the schedule of production.
    start: float = 30.0
    transitions_rate: float = 800.0
    transitions: int = 16
    process: float = 0.5
    slots: int = 64
    compact_every: float = 300.0
    compact_due: int = 16
    merge_after: float = 3600.0
    part_bytes: int = 8 * 1024 * 1024
    line_bytes: float = 27.0


class Bucket:
    """A token bucket of AWS: a rate per second, and a maximum burst."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self._tokens, self._at = burst, 0.0

    def take(self, now: float) -> float:
        """Take one token; return when it may be used."""
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate) - 1
        self._at = now
        return now if self._tokens >= 0 else now - self._tokens / self.rate


class Slots:
    """A number of parallel slots, assigned in the order of arrival."""

    def __init__(self, count: int) -> None:
        self._free = [0.0] * count
        self.waited = 0.0

    def occupy(self, now: float, seconds: float) -> tuple[float, float]:
        """Occupy the first free slot for some seconds; return the begin and the end."""
        begins = max(now, heapq.heappop(self._free))
        self.waited = max(self.waited, begins - now)
        heapq.heappush(self._free, begins + seconds)
        return begins, begins + seconds


@dataclass(frozen=True)
class Day:
    """The result of a simulated day; times in seconds."""

    batches: int
    rows: int
    median: float
    slowest: float
    busiest: float
    quota_waited: float
    slot_waited: float
    visible_batches: int
    tables: int
    log_gb: float


def arrivals(count: int, rng: random.Random) -> list[float]:
    """Return when batches arrive: half of them over the day, half within two hours of it."""
    spread = [rng.uniform(0, DAY) for _ in range(count - count // 2)]
    return sorted(spread + [rng.uniform(8 * 3600, 10 * 3600) for _ in range(count // 2)])


def simulate(count: int, rows: int, figures: Figures, seed: int = 1) -> Day:
    """Simulate a day of `count` batches of `rows` rows each."""
    submits, launches = (
        Bucket(figures.submit_rate, figures.submit_rate),
        Bucket(figures.launch_rate, figures.launch_burst),
    )
    transitions = Bucket(figures.transitions_rate, figures.transitions_rate)
    slots, database = Slots(figures.slots), Slots(2)
    quota_waited = 0.0
    seconds: list[float] = []
    visible: list[float] = []
    tasks = (rows / figures.validate_rows, 0.0, figures.commit)
    ahead = [(at, number, at, 0) for number, at in enumerate(arrivals(count, random.Random(seed)))]  # noqa: S311
    heapq.heapify(ahead)
    while ahead:
        now, number, arrived, task = heapq.heappop(ahead)
        if task == len(tasks):
            seconds.append(now - arrived)
            visible.append(now)
            continue
        allowed = launches.take(submits.take(now))
        for _ in range(figures.transitions // len(tasks)):
            allowed = max(allowed, transitions.take(now))
        quota_waited = max(quota_waited, allowed - now)
        work = tasks[task]
        begins, ends = slots.occupy(allowed, figures.start + figures.process + work)
        if task == 1:  # two connections at half its rate each: the database is shared by all loads
            _, ends = database.occupy(begins + figures.start + figures.process, rows / figures.database_rows * 2)
        heapq.heappush(ahead, (ends, number, arrived, task + 1))
    seconds.sort()
    return Day(
        batches=count,
        rows=count * rows,
        median=seconds[len(seconds) // 2],
        slowest=seconds[int(len(seconds) * 0.99)],
        busiest=_most_within(visible, 3600.0),
        quota_waited=quota_waited,
        slot_waited=slots.waited,
        visible_batches=int(_most_within(visible, figures.compact_every)) + figures.compact_due - 1,
        tables=int(_most_within(visible, figures.merge_after + figures.compact_every)),
        log_gb=count * rows * figures.row_bytes / 1e9,
    )


def _most_within(moments: list[float], seconds: float) -> float:
    """Return the highest number of moments within any period of `seconds`."""
    moments, most, first = sorted(moments), 0, 0
    for last, moment in enumerate(moments):
        while moment - moments[first] > seconds:
            first += 1
        most = max(most, last - first + 1)
    return float(most)


@dataclass(frozen=True)
class Large:
    """One very large batch: seconds of each step, and of the load if only shards or only the database limit it."""

    shards: int
    validate: float
    load: float
    by_shards: float
    by_database: float
    rates: int

    @property
    def whole(self) -> float:
        """Seconds until the batch is visible, with the starts of three containers."""
        return self.validate + self.load + 31.0


def large(rows: int, shards: int, figures: Figures, lane_months: int = 50_000) -> Large:
    """Return the times of one batch with `rows` rows in `shards` shards."""
    size = rows * figures.line_bytes
    shards = max(1, min(shards, figures.most_shards, int(-(-size // figures.part_bytes))))
    launched = max(0.0, shards - figures.launch_burst) / figures.launch_rate
    waves = -(-shards // figures.slots)
    validate = launched + waves * (figures.start + figures.process + rows / shards / figures.validate_rows)
    by_shards = waves * (rows / shards / figures.copy_rows)
    by_database = rows / figures.database_rows
    load = launched + waves * (figures.start + figures.process) + max(by_shards, by_database)
    return Large(shards, validate, load, by_shards, by_database, lane_months * shards)


def report(figures: Figures) -> Iterator[str]:
    """Yield the two tables of the page."""
    names = "batches per day × rows, capacity | median | p99 | busiest hour | wait for quotas | wait for capacity"
    yield f"| {names} | most uncompacted | most tables | WAL |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for count, rows in ((10, 10_000_000), (1000, 1_000_000), (100_000, 10_000)):
        for slots in (64, 512) if count == 100_000 else (64,):
            day = simulate(count, rows, replace(figures, slots=slots))
            yield (
                f"| {count:,} × {rows:,}, {slots} | {day.median:,.0f} s | {day.slowest:,.0f} s | {day.busiest:,.0f}"
                f" | {day.quota_waited:,.0f} s | {day.slot_waited:,.0f} s | {day.visible_batches:,} | {day.tables:,}"
                f" | {day.log_gb:,.0f} GB |"
            )
    yield ""
    yield "| 1,000,000,000 rows in | validate | load | its shards only | the database only | until visible |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for shards in (1, 16, 64, 512):
        for cores in (2, 32) if shards > 1 else (2,):
            found = large(10**9, shards, replace(figures, slots=512, database_rows=figures.database_rows * cores / 2))
            yield (
                f"| {found.shards} shards, database of {cores} cores | {found.validate:,.0f} s | {found.load:,.0f} s"
                f" | {found.by_shards:,.0f} s | {found.by_database:,.0f} s | {found.whole / 60:,.0f} min |"
            )


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--start", type=float, default=Figures.start, help="seconds until a container runs (default: %(default)g)"
    )
    parsed = parser.parse_args()
    for line in report(Figures(start=parsed.start)):
        sys.stdout.write(f"{line}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
