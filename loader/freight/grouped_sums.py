"""Counts and sums by key, for any number of keys in bounded memory.

Purpose: memory does not depend on the number of lanes and days (`python -m benchmarks memory`). It works like an
external merge sort: when there are many cells, they are sorted and summed by key; if there are still too many, they are
written to a temporary file; in the end all files are merged. With a large enough KEPT_CELLS, nothing is written.
"""

import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

import numpy as np
import numpy.typing as npt

Cells = npt.NDArray[np.uint64]
"""Rows of three numbers: a key, a count and a sum."""

COLUMNS = 3
# Cells in memory, of 24 bytes each; sorting needs two or three times as much.
KEPT_CELLS = 1 << 15
# This many files are merged into one.
MAX_FILES = 64


class SpillingAggregator:
    """Sums counts and sums by key. To be read once, after all cells are added."""

    def __init__(self, kept: int = KEPT_CELLS) -> None:
        self._kept = kept
        self._pieces: list[Cells] = []
        self._size = 0
        self._aside: list[IO[bytes]] = []

    def add(self, cells: Cells) -> None:
        """Add cells, in any order; a key may occur more than once."""
        if not len(cells):
            return
        self._pieces.append(cells)
        self._size += len(cells)
        if self._size > self._kept:
            self._gather()
            if self._size > self._kept // 2:
                self._spill()

    def read(self) -> Iterator[Cells]:
        """Yield all cells in the order of their keys, each key once, in pieces."""
        self._gather()
        if not self._aside:
            return iter(self._pieces)
        if self._pieces:
            self._spill()
        return _merged(self._aside, self._kept)

    def _gather(self) -> None:
        if self._pieces:
            self._pieces = [sum_by_key(np.concatenate(self._pieces))]
            self._size = len(self._pieces[0])

    def _spill(self) -> None:
        self._aside.append(_written(self._pieces))
        self._pieces, self._size = [], 0
        if len(self._aside) == MAX_FILES:
            self._aside = [_written(_merged(self._aside, self._kept))]


def sum_by_key(cells: Cells) -> Cells:
    """Return the cells in the order of their keys, with one cell per key."""
    if not len(cells):
        return cells
    # A stable sort is fast here: it merges pieces that are already sorted.
    cells = cells[np.argsort(cells[:, 0], kind="stable")]
    keys = cells[:, 0]
    firsts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    if len(firsts) == len(cells):
        return cells
    found = np.empty((len(firsts), COLUMNS), dtype=np.uint64)
    found[:, 0] = keys[firsts]
    for column in (1, 2):
        found[:, column] = np.add.reduceat(cells[:, column], firsts)
    return found


def _written(pieces: Iterable[Cells]) -> IO[bytes]:
    """Write sorted cells to a temporary file, which is deleted when it is closed."""
    file = tempfile.TemporaryFile(prefix="ratesflow-")  # noqa: SIM115
    for piece in pieces:
        file.write(piece.data)
    file.seek(0)
    return file


def _merged(files: list[IO[bytes]], most: int) -> Iterator[Cells]:
    """Merge sorted files: yield their cells, with about `most` in memory, and close the files."""
    block = max(most // len(files), 1)
    waiting = {file: _block(file, block) for file in files}
    taken: list[Cells] = []
    while waiting:
        # Up to this key all cells are in memory: the unread cells of each file have greater keys.
        bound = min(cells[-1, 0] for cells in waiting.values())
        for file, cells in list(waiting.items()):
            cut = int(np.searchsorted(cells[:, 0], bound, side="right"))
            taken.append(cells[:cut])
            waiting[file] = cells[cut:] if cut < len(cells) else _block(file, block)
            if not len(waiting[file]):
                del waiting[file]
                file.close()
        if sum(map(len, taken)) > most // 4 or not waiting:
            yield sum_by_key(np.concatenate(taken))
            taken = []


def _block(file: IO[bytes], cells: int) -> Cells:
    data = file.read(cells * COLUMNS * np.dtype(np.uint64).itemsize)
    return np.frombuffer(data, dtype=np.uint64).reshape(-1, COLUMNS)
