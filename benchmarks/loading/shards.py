"""Seconds of validate and load when 1, 2 or 4 processes share a batch, and the use of the processors."""

from collections import defaultdict

import psutil

from benchmarks.loading import lanes, ours
from benchmarks.options import Options, label
from benchmarks.results import Measure, median, ratio
from benchmarks.servers import Servers

ROWS = 4_000_000
SHARDS = (1, 2, 4)
ROUNDS = 3


def measure(servers: Servers, options: Options) -> dict[str, Measure]:
    """Run the same rows as one, two and four shards in turn, as whole processes: start-up counts."""
    rows = options.rows or ROWS
    database = servers.new_database()
    samples: dict[str, list[float]] = defaultdict(list)
    path = lanes.write(servers.folder / "batch.csv", rows, seed=rows)
    for number in range(min(options.rounds, ROUNDS)):
        for shards in SHARDS:
            options.log(f"shards: {rows:,} rows in {shards}, round {number + 1}")
            with path.open("ab") as file:
                file.write(b"CNSHA,NLRTM,2021-01-01,1000\n")
            sent = ours.upload(servers, path, database)
            servers.settle()
            for task in ("validate", "load"):
                psutil.cpu_percent()  # starts a measurement of all processors
                seconds, ran = ours.run_shards(servers, sent, task, shards)
                samples[f"{task}_{shards}_s"].append(seconds)
                samples[f"{task}_{shards}_cpu"].append(psutil.cpu_percent() / 100)
                samples[f"{task}_{shards}_peak_mb"].append(max(each.peak_mb for each in ran))
            ours.remove(servers, sent)
    servers.drop_database(database)
    size = label(rows)
    found = {f"shards_{size}_{name}": median(values) for name, values in samples.items()}
    # The goals apply to the full size only.
    names = {2: "two", 4: "four"} if rows == ROWS else {2: f"{size}_two", 4: f"{size}_four"}
    for task in ("validate", "load"):
        for shards, name in names.items():
            against = samples[f"{task}_1_s"]
            found[f"{name}_shards_{task}_vs_one"] = ratio(samples[f"{task}_{shards}_s"], against)
    return found
