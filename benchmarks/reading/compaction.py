"""The cost of a running compaction for readers, and its benefit: a read after one batch and after thousands."""

import gc
import os
import random
import subprocess
import time
from typing import Any

from benchmarks.loading import lanes, ours, warm
from benchmarks.options import Options
from benchmarks.reading.process import ReadTimes, readers
from benchmarks.reading.reader import READ, prepared
from benchmarks.results import Measure, median, percentile
from benchmarks.servers import Servers
from ratesflow.loader.batches import s3
from ratesflow.loader.freight.dataset import FreightPrices
from ratesflow.loader.runtime.connection import connected
from ratesflow.loader.tasks.compact import compact

DUE = 16  # visible batches
BATCH_ROWS, SMALL_ROWS, ONE_ROWS = 20_000, 2_000, 200_000
DAYS = 60
PHASE_SECONDS = 4.0
READS = 4_000
MAX_ROUNDS = 3  # they take long


def measure(servers: Servers, options: Options) -> dict[str, Measure]:
    """Read during compactions of sixteen batches; then compare reads after one batch and after many."""
    return {**_beside(servers, options), **_after(servers, options)}


def _beside(servers: Servers, options: Options) -> dict[str, Measure]:
    database = servers.new_database()
    _use(servers, database)
    _load(servers, database, 1, ONE_ROWS, seed=0)
    rounds = []
    for number in range(min(options.rounds, MAX_ROUNDS)):
        options.log(f"compact: round {number + 1}: {DUE} batches of {BATCH_ROWS:,} rows")
        _load(servers, database, DUE, options.rows or BATCH_ROWS, seed=100 * (number + 1))
        servers.settle()
        with readers(servers, database) as times:
            with times.phase("idle"):
                time.sleep(PHASE_SECONDS)
            with times.phase("compact"):
                _compact_process(servers, database, number)
        rounds.append(times)
    servers.drop_database(database)
    every = ReadTimes(
        [phase for times in rounds for phase in times.phases],
        [sample for times in rounds for sample in times.samples],
        sum(times.errors for times in rounds),
    )
    seconds = [ended - began for name, began, ended in every.phases if name == "compact"]
    figures = every.figures("reader", "idle")
    # `reader_p99_idle_ms` is a measure of the part `readers`; here sixteen batches are uncompacted.
    found = {name.replace("_idle_ms", "_before_compact_ms"): each for name, each in figures.items()}
    errors = float(every.errors)
    found["reader_compact_errors"] = Measure(errors, errors, errors)
    found["compact_16_batches_s"] = median(seconds)
    return options.named(found)


def _after(servers: Servers, options: Options) -> dict[str, Measure]:
    one, many = servers.new_database(), servers.new_database()
    _use(servers, one)
    _load(servers, one, 1, ONE_ROWS, seed=1)
    _use(servers, many)
    began = time.monotonic()
    for number in range(0, options.batches, DUE):
        if number % (DUE * 10) == 0:
            options.log(f"compact: {number:,} of {options.batches:,} batches")
        _load(servers, many, min(DUE, options.batches - number), SMALL_ROWS, seed=1_000_000 + number)
        with connected("compact") as connection:
            compact(connection, f"compact-{number}", dataset=FreightPrices())
    seconds = time.monotonic() - began
    servers.settle()
    first, last = _reads(servers, one, many)
    servers.drop_database(one)
    servers.drop_database(many)
    # The goal applies to the full number only.
    name = "2000" if options.batches == 2000 else str(options.batches)
    found: dict[str, float] = {f"batches_{name}_s": seconds}
    for share, what in ((0.5, ""), (0.99, "_p99")):
        before, after = percentile(first, share), percentile(last, share)
        found[f"read{what}_after_one_ms"] = before
        found[f"read{what}_after_{name}_ms"] = after
        found[f"read{what}_after_{name}_vs_one"] = after / before
    return {each: Measure(value, value, value) for each, value in found.items()}


def _use(servers: Servers, database: str) -> None:
    """Set the environment of tasks in this process."""
    os.environ.update(servers.environment(database))
    s3.store.cache_clear()


def _load(servers: Servers, database: str, batches: int, rows: int, seed: int) -> None:
    """Load and commit batches by the tasks, in this process."""
    path = servers.folder / "batch.csv"
    for number in range(batches):
        lanes.write(path, rows, seed + number, days=DAYS)
        sent = ours.upload(servers, path, database)
        warm.run(warm.batch_of(vars(sent)))
        ours.remove(servers, sent)


def _compact_process(servers: Servers, database: str, number: int) -> None:
    command = ours.python_task("compact", "--run-id", f"compact-{number}")
    subprocess.run(command, check=True, capture_output=True, env=servers.environment(database))


def _reads(servers: Servers, *databases: str) -> list[list[float]]:
    """Return milliseconds of many reads in each database, in turn."""
    sessions: list[tuple[Any, Any]] = [prepared(servers.url(database, "api")) for database in databases]
    samples: list[list[float]] = [[] for _ in databases]
    rng = random.Random(1)  # noqa: S311 reproducible
    gc.disable()
    for _ in range(READS):
        for (connection, reads), found in zip(sessions, samples, strict=True):
            values = rng.choice(reads)
            with connection.cursor() as cursor:
                began = time.perf_counter()
                cursor.execute(READ, values)
                cursor.fetchall()
                found.append(1000 * (time.perf_counter() - began))
    gc.enable()
    for connection, _ in sessions:
        connection.close()
    return samples
