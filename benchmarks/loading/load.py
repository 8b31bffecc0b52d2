"""Seconds to load a batch: by step and in total, compared with the alternatives."""

import itertools
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from benchmarks.loading import copies, frameworks, lanes, ours
from benchmarks.options import Options, label
from benchmarks.results import Measure, median, ratio
from benchmarks.servers import Servers

Samples = dict[str, list[float]]
WARM_UP_ROWS = 2_000
SMALL, LARGE = 50_000, 1_000_000
# Alternatives that take tens of seconds for a million rows run in these rounds only, and never for ten million.
SLOW_ROUNDS = (0, 2, 4)
_seeds = itertools.count(1)

RATIOS = {
    "vs_bare_copy": ("work", "bare_copy"),
    "whole_vs_bare_copy": ("whole", "bare_copy"),
    "vs_first_schema": ("whole", "first_schema"),
    "vs_dlt": ("whole", "dlt"),
    "vs_dlt_process": ("whole", "dlt_process"),
    "work_vs_dlt": ("work", "dlt"),
}


def measure(servers: Servers, options: Options) -> dict[str, Measure]:
    """Load batches of each size with every alternative in turn, in rounds."""
    copies.prepare(servers)
    frameworks.prepare()
    database = servers.new_database()
    found: dict[str, Measure] = {}
    for rows in options.sizes(SMALL, LARGE):
        samples: Samples = defaultdict(list)
        rounds = options.rounds if rows <= LARGE else min(options.rounds, 2)
        for number in range(rounds):
            options.log(f"load: {rows:,} rows, round {number + 1} of {rounds}")
            _round(servers, database, rows, number, samples)
        found |= _figures(label(rows), samples)
    servers.drop_database(database)
    return found


def _round(servers: Servers, database: str, rows: int, number: int, samples: Samples) -> None:
    path = lanes.write(servers.folder / "batch.csv", rows, seed=1000 * rows + number)
    for name, method in _methods(servers, path, rows, number).items():
        samples[name].append(method())
    if rows <= LARGE and number in SLOW_ROUNDS:
        run, whole = frameworks.dlt_append(servers, path)
        samples["dlt"].append(run)
        samples["dlt_process"].append(whole)
    _ours(servers, database, path, samples)


def _methods(servers: Servers, path: Path, rows: int, number: int) -> dict[str, Callable[[], float]]:
    """Return the alternatives that run in this round, by name."""

    def by_copy(table: str) -> Callable[[], float]:
        def method() -> float:
            seconds = copies.copy(servers, table, path)
            copies.drop(servers, table)
            return seconds

        return method

    methods = {"bare_copy": by_copy("bare"), "logged_copy": by_copy("logged")}
    if rows <= LARGE and number in SLOW_ROUNDS:
        methods |= {"indexed_copy": by_copy("indexed"), "first_schema": by_copy("first")}
    if rows <= SMALL and number in SLOW_ROUNDS:
        methods["to_sql"] = lambda: frameworks.to_sql(servers, path)
    return methods


def _ours(servers: Servers, database: str, path: Path, samples: Samples) -> None:
    """Run the tasks of a batch in a warm process, and those of another batch as new processes."""
    small = lanes.write(servers.folder / "small.csv", WARM_UP_ROWS, seed=next(_seeds))
    warm_up = ours.upload(servers, small, database)
    sent = ours.upload(servers, path, database)
    servers.settle()
    seconds = ours.run_warm(servers, warm_up, sent)
    samples["work"].append(sum(seconds.values()))
    for step, value in seconds.items():
        samples[f"work_{step}"].append(value)
    ours.remove(servers, sent)
    # The same bytes would be a duplicate, so append a row.
    with path.open("ab") as file:
        file.write(b"CNSHA,NLRTM,2021-01-01,1000\n")
    sent = ours.upload(servers, path, database)
    servers.settle()
    ran = ours.run_whole(servers, sent)
    samples["whole"].append(sum(each.seconds for each in ran.values()))
    for step, each in ran.items():
        samples[f"whole_{step}"].append(each.seconds)
    ours.remove(servers, sent)


def _figures(size: str, samples: Samples) -> dict[str, Measure]:
    found = {f"load_{size}_{name}_s": median(values) for name, values in samples.items()}
    for name, (one, other) in RATIOS.items():
        if samples.get(one) and samples.get(other):
            found[f"load_{size}_{name}"] = ratio(samples[one], samples[other])
    started = [whole - work for whole, work in zip(samples["whole"], samples["work"], strict=True)]
    found[f"load_{size}_start_up_s"] = median(started)
    return found
