"""Contents of batches that a reader can verify at any time: each has its own day, on lanes that all contents share.

The day of a content is therefore either empty or has exactly its counts and sums, on each lane between ports and
between regions. Contents share months and lanes, so that their rates are merged into the same rows.
"""

import gzip
import hashlib
import random
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from itertools import product

from ratesflow.database.reference import Reference, builtin
from tests.loader.samples import Row, csv, daily, json_lines

FIRST_DAY = date(2010, 1, 1)
LANES = 6

Lane = tuple[str, str]
Sums = dict[Lane, tuple[int, int]]


@dataclass(frozen=True)
class Content:
    """The prices of a file; `bad_line` is the number of an invalid line, 0 for none."""

    number: int
    rows: int = 240
    bad_line: int = 0
    kind: str = "csv"

    @property
    def day(self) -> date:
        """The day of the content, which no other content has."""
        return FIRST_DAY + timedelta(self.number)

    @cached_property
    def prices(self) -> list[Row]:
        """The rows of the file."""
        rng = random.Random(self.number)
        return [(*rng.choice(_LANES), self.day, rng.randint(300, 9000)) for _ in range(self.rows)]

    @cached_property
    def sums(self) -> Sums:
        """Count and sum on each lane, between ports and between regions of the built-in tree."""
        return {(orig, dest): found for (orig, dest, _), found in daily(self.prices, builtin()).items()}

    @cached_property
    def port_sums(self) -> Sums:
        """Count and sum on the lanes between ports, which are independent of the tree."""
        return {lane: found for lane, found in self.sums.items() if lane[0].isupper()}

    def sums_in(self, tree: Reference) -> Sums:
        """Return count and sum on each lane, between ports and between regions of a tree."""
        found = dict(self.port_sums)
        for (orig, dest), (count, total) in self.port_sums.items():
            for lane in product(tree.regions_of[orig], tree.regions_of[dest]):
                before = found.get(lane, (0, 0))
                found[lane] = before[0] + count, before[1] + total
        return found

    @cached_property
    def data(self) -> bytes:
        """The bytes of the file."""
        if self.kind == "jsonl":
            return json_lines(self.prices)
        text = csv(self.prices)
        if self.bad_line:
            lines = text.split(b"\n")
            lines[self.bad_line - 1] = lines[self.bad_line - 1].rsplit(b",", 1)[0] + b",1.5"
            text = b"\n".join(lines)
        return gzip.compress(text, mtime=0) if self.kind == "gzip" else text

    @property
    def etag(self) -> str:
        """The ETag of an object with these bytes."""
        return hashlib.md5(self.data, usedforsecurity=False).hexdigest()


def _lanes() -> list[Lane]:
    rng = random.Random(1)
    ports = sorted(builtin().ports)
    return [tuple(rng.sample(ports, 2)) for _ in range(LANES)]  # type: ignore[misc]


_LANES = _lanes()
PORTS = sorted({port for lane in _LANES for port in lane})
"""The ports that have prices."""
