"""Peak memory of the tasks in megabytes, by the size of the batch, as the kernel reports it for each process."""

from benchmarks.loading import lanes, ours
from benchmarks.options import TEN_MILLION, Options, label
from benchmarks.results import Measure, median
from benchmarks.servers import Servers

SIZES = (100_000, 1_000_000)


def measure(servers: Servers, options: Options) -> dict[str, Measure]:
    """Run the tasks of a batch of each size as processes, and read the peaks that they log."""
    database = servers.new_database()
    found: dict[str, Measure] = {}
    for rows in options.sizes(*SIZES):
        path = lanes.write(servers.folder / "batch.csv", rows, seed=rows)
        peaks: dict[str, list[float]] = {task: [] for task in ours.STEPS}
        for number in range(options.rounds if rows <= SIZES[-1] else 1):
            options.log(f"memory: {rows:,} rows, round {number + 1}")
            with path.open("ab") as file:
                file.write(b"CNSHA,NLRTM,2021-01-01,1000\n")  # differs from the file of the previous round
            sent = ours.upload(servers, path, database)
            for task, ran in ours.run_whole(servers, sent).items():
                peaks[task].append(ran.peak_mb)
            ours.remove(servers, sent)
        size = label(rows)
        found |= {f"peak_mb_{size}_{task}": median(values) for task, values in peaks.items()}
        found[f"peak_mb_{size}"] = median([max(each) for each in zip(*peaks.values(), strict=True)])
    small, large = f"peak_mb_{label(SIZES[0])}", f"peak_mb_{label(TEN_MILLION)}"
    if small in found and large in found:
        times = found[large].value / found[small].value
        found["peak_10m_vs_100k"] = Measure(times, times, times)
    servers.drop_database(database)
    return found
