"""`python -m benchmarks [PART…]`: measures, and writes figures, table and plot into benchmarks/results/.

Each run starts its own PostgreSQL and its own embedded AWS. A run of some parts replaces only their measures.
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
# The API's part is a module of its own, with servers of its own.
API = "benchmarks.api.__main__"


def main(arguments: list[str] | None = None) -> int:
    """Measure the parts named, or all; each part's figures are stored as soon as it is done."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if unknown := set(given.parts) - {*PARTS, "api"}:
        parser.error(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join([*PARTS, 'api'])}")
    options = Options(rows=given.rows, full=given.full, rounds=given.rounds, batches=given.batches)
    wanted = given.parts or [*PARTS, *(["api"] if find_spec(API) else [])]
    if ours := [name for name in wanted if name in PARTS]:
        servers.warn_if_busy()
        with servers.running() as running:
            for name in ours:
                options.say(f"{name}: begins")
                measured = PARTS[name](running, options)
                record(measured, servers.machine(), running.versions())
                show()
                print(table.lines(measured), flush=True)
    if "api" in wanted:
        import_module(API).main(["--rounds", str(options.rounds)])
        show()
    return 0


def show() -> None:
    """Write the page and the picture of all that is known."""
    known = read()
    table.write(known)
    plot.write(known)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join([*PARTS, 'api'])}; all if none is named"
    )
    parser.add_argument("--rows", type=int, help="measure with so many rows instead of the usual sizes")
    parser.add_argument("--full", action="store_true", help="measure with ten million rows too; takes long")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the median counts (5)")
    parser.add_argument("--batches", type=int, default=2000, help="batches before the last read of `compact` (2000)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
