"""`python -m benchmarks [PART…]`: measures, and writes results, page and chart into benchmarks/results/.

Each run starts its own PostgreSQL and its own embedded AWS. A run of some parts replaces only
their measures.
"""

import argparse
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

from benchmarks import plot, servers, table
from benchmarks.loading import commits, load, memory, shards, starts, undo
from benchmarks.options import Options
from benchmarks.reading import compaction, readers, tree
from benchmarks.results import Measure, read, record

Part = Callable[[servers.Servers, Options], dict[str, Measure]]
PARTS: dict[str, Part] = {
    "load": load.measure,
    "commit": commits.measure,
    "memory": memory.measure,
    "shards": shards.measure,
    "readers": readers.measure,
    "compact": compaction.measure,
    "undo": undo.measure,
    "tree": tree.measure,
    "starts": starts.measure,
}
# The part of the API has its own module and servers.
API = "benchmarks.api.__main__"


def main(arguments: list[str] | None = None) -> int:
    """Measure the given parts, or all; store the figures of each part as soon as it is done."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if unknown := set(parsed.parts) - {*PARTS, "api"}:
        parser.error(f"unknown part {', '.join(sorted(unknown))}; choose from {', '.join([*PARTS, 'api'])}")
    options = Options(rows=parsed.rows, full=parsed.full, rounds=parsed.rounds, batches=parsed.batches)
    wanted = parsed.parts or [*PARTS, *(["api"] if find_spec(API) else [])]
    if parts := [name for name in wanted if name in PARTS]:
        servers.warn_if_busy()
        with servers.running() as running:
            for name in parts:
                options.log(f"{name}: started")
                measured = PARTS[name](running, options)
                record(measured, servers.machine(), running.versions())
                show()
                print(table.lines(measured), flush=True)
    if "api" in wanted:
        import_module(API).main(["--rounds", str(options.rounds)])
        show()
    return 0


def show() -> None:
    """Write the page and the chart of all stored results."""
    results = read()
    table.write(results)
    plot.write(results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join([*PARTS, 'api'])} (default: all)")
    parser.add_argument("--rows", type=int, help="number of rows, instead of the usual sizes")
    parser.add_argument("--full", action="store_true", help="also measure with ten million rows; takes long")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds; results are medians (default: 5)")
    parser.add_argument(
        "--batches", type=int, default=2000, help="batches before the last read of `compact` (default: 2000)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
