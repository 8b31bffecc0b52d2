"""The time of an undo over the time to load the same batch, for few lanes with many days and the reverse."""

import subprocess
import time
from datetime import date, timedelta
from pathlib import Path

from benchmarks.loading import lanes, ours
from benchmarks.options import Options
from benchmarks.results import Measure, median, ratio
from benchmarks.servers import Servers
from ratesflow.database.reference import builtin

# The name, lanes and days of each shape, with one price per day.
SHAPES = {"1_lane_300k_days": (1, 300_000), "100_lanes_10k_days": (100, 10_000)}
USUAL_ROWS = 1_000_000  # on 4,000 lanes and 60 days
LAST_DAY = date(2149, 12, 31)
ROUNDS = 3


def measure(servers: Servers, options: Options) -> dict[str, Measure]:
    """Load and undo a batch of each shape, as whole processes: start-up counts on both sides."""
    database = servers.new_database()
    path = servers.folder / "batch.csv"
    found: dict[str, Measure] = {}
    for name in [*SHAPES, "4k_lanes_60_days"]:
        loads, undos = [], []
        for number in range(min(options.rounds, ROUNDS)):
            options.log(f"undo: {name}, round {number + 1}")
            if name in SHAPES:
                write(path, *SHAPES[name], seed=number)
            else:
                lanes.write(path, options.rows or USUAL_ROWS, seed=number, days=60)
            sent = ours.upload(servers, path, database)
            servers.settle()
            ran = ours.run_whole(servers, sent)
            loads.append(ran["validate"].seconds + ran["load"].seconds)
            servers.settle()
            began = time.perf_counter()
            command = ours.python_task("undo", "--run-id", f"undo-{name}-{number}", "--batch", sent.batch_id)
            subprocess.run(command, check=True, capture_output=True, env=servers.environment(database))
            undos.append(time.perf_counter() - began)
            ours.remove(servers, sent)
        found |= {f"undo_{name}_s": median(undos), f"undo_{name}_vs_load": ratio(undos, loads)}
    servers.drop_database(database)
    return options.named(found)


def write(path: Path, count: int, days: int, seed: int) -> None:
    """Write a batch with one price for each lane and day, back to the year 1 at most."""
    ports = sorted(builtin().ports)
    pairs = [(orig, dest) for orig in ports for dest in ports if orig != dest][:count]
    # A lane with more days than the calendar has several prices on each day.
    span = min(days, (LAST_DAY - date.min).days)
    days_as_text = [(LAST_DAY - timedelta(days=at % span)).isoformat() for at in range(days)]
    with path.open("w", encoding="ascii") as file:
        file.write("orig_code,dest_code,day,price\n")
        for orig, dest in pairs:
            file.writelines(f"{orig},{dest},{day},{1000 + (at + seed) % 997}\n" for at, day in enumerate(days_as_text))
