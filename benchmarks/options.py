"""The options of a run: sizes and rounds, and how sizes appear in the names of measures."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

Figure = TypeVar("Figure")
TEN_MILLION = 10_000_000


@dataclass(frozen=True)
class Options:
    """`rows` replaces all sizes of a part; `full` adds ten million rows to them."""

    rows: int | None = None
    full: bool = False
    rounds: int = 5
    batches: int = 2000
    began: float = field(default_factory=time.monotonic)

    def sizes(self, *usual: int) -> list[int]:
        """Return the numbers of rows to measure with."""
        if self.rows:
            return [self.rows]
        return [*usual, *([TEN_MILLION] if self.full else [])]

    def named(self, figures: Mapping[str, Figure]) -> dict[str, Figure]:
        """Add the number of rows to the names of the measures of a part with one size, if it is not the usual one."""
        return {f"{name}_{label(self.rows)}_rows" if self.rows else name: each for name, each in figures.items()}

    def log(self, message: str) -> None:
        """Print what is being done to standard error, with the seconds since the start."""
        print(f"{time.monotonic() - self.began:7.1f} s  {message}", file=sys.stderr, flush=True)  # noqa: T201


def label(rows: int) -> str:
    """Return a number of rows as names contain it: 50k, 1m, 10m."""
    for unit, letter in ((1_000_000, "m"), (1_000, "k")):
        if rows % unit == 0:
            return f"{rows // unit}{letter}"
    return str(rows)
