"""Checks millions of rows with pandas by checking each distinct value once.

pandas splits a piece of the file into categorical columns. The functions of `schema` look up or parse each category,
and its number is assigned to all its rows. A piece with an irregular structure (a wrong number of commas, stray
carriage returns, NUL bytes) is read line by line instead.
"""

import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ratesflow.loader.dataset import Reject, Violation
from ratesflow.loader.freight import fixed_width
from ratesflow.loader.freight.pandas_without_arrow import pd
from ratesflow.loader.freight.rows import Integers, Rows
from ratesflow.loader.freight.schema import COLUMNS, Price, parse_day, parse_line, parse_price

_TYPES: dict[str, Any] = {**dict.fromkeys(COLUMNS, "category"), "price": object}
# Parsed days and prices are cached by their text, so that each is parsed once per file; a full cache is cleared.
CACHE_SIZE = 100_000

ReadLine = Callable[[bytes], Price | list[Violation]]


class VectorizedValidator:
    """Checks pieces of one file. Ports are numbered from 1 in the order of `ports`."""

    def __init__(self, columns: tuple[str, ...], ports: Iterable[str]) -> None:
        self.columns = columns
        self.ports = {code: number for number, code in enumerate(ports, start=1)}
        self._days: dict[str, int] = {}
        self._prices: dict[str, int] = {}

    def check(self, data: bytes, lines: int, reject: Reject) -> Rows:
        """Return the valid rows of a piece of `lines` lines, the last of which may lack its line end."""
        columns = self.split(data, lines)
        if columns is None:
            return self.line_by_line(data, reject, self._read_line)
        return self.valid_rows(columns, data, reject, self._read_line)

    def valid_rows(self, columns: dict[str, Integers], data: bytes, reject: Reject, read: ReadLine) -> Rows:
        """Return the rows with a number in each column, and those of the others that `read` accepts."""
        bad = np.zeros(len(columns["price"]), dtype=bool)
        for values in columns.values():
            bad |= values == 0
        if not bad.any():
            return Rows(*(columns[name] for name in COLUMNS))
        good = Rows(*(columns[name][~bad] for name in COLUMNS))
        rest = self.line_by_line(data, reject, read, bad)
        return Rows(*(np.concatenate(pair) for pair in zip(good.columns, rest.columns, strict=True)))

    def line_by_line(
        self, data: bytes, reject: Reject, read: ReadLine, chosen: npt.NDArray[np.bool_] | None = None
    ) -> Rows:
        """Read a piece one line at a time, or the chosen lines of it."""
        rows = []
        cached = lru_cache(maxsize=1000)(read)
        for at, line in _enumerated(data, chosen):
            row = cached(line)
            if isinstance(row, Price):
                rows.append((self.ports[row.orig_code], self.ports[row.dest_code], row.day, row.price))
            else:
                reject(at, row)
        return Rows(*np.array(rows, dtype=np.int64).reshape(-1, len(COLUMNS)).T)

    def split(self, data: bytes, lines: int) -> dict[str, Integers] | None:
        """Return the four columns as numbers, 0 where a value is bad; None if the structure is irregular."""
        if not self._regular(data, lines):
            return None
        found = fixed_width.split(data, lines, self.columns) or self._parse(data, lines)
        if found is None:
            return None
        columns = {}
        for name in COLUMNS:
            codes, values = found[name]
            # An empty value may be a missing field, with an extra field in another row.
            if codes.min() < 0 or "" in values or set(map(type, values)) != {str}:
                return None
            columns[name] = self._numbers(name, values)[codes]
        return columns

    def _parse(self, data: bytes, lines: int) -> dict[str, fixed_width.Distinct] | None:
        """Split lines of any shape."""
        try:
            with warnings.catch_warnings():
                # Extra fields in the first line: the count of commas and the checks in `split` find them.
                warnings.simplefilter("ignore", pd.errors.ParserWarning)
                frame = self._frame(data)
        except ValueError:  # pandas' parser errors are ValueErrors
            return None
        if len(frame) != lines:
            return None
        return {name: _distinct(frame[name]) for name in COLUMNS}

    def _frame(self, data: bytes) -> "pd.DataFrame":
        return pd.read_csv(
            io.BytesIO(data),
            header=None,
            names=self.columns,
            index_col=False,
            # As categories, prices would be parsed as numbers, and +5 would become 5.
            dtype=_TYPES,
            na_filter=False,
            skip_blank_lines=False,
            low_memory=False,
            encoding="latin-1",  # never fails; text that is not ASCII is invalid in any case
        )

    def _regular(self, data: bytes, lines: int) -> bool:
        array = np.frombuffer(data, dtype=np.uint8)
        if np.count_nonzero(array == fixed_width.COMMA) != 3 * lines or b"\0" in data:
            return False
        if b"\r" not in data:
            return True
        returns = array == fixed_width.RETURN
        in_ends = returns[:-1] & (array[1:] == fixed_width.LINE_END)
        return bool(np.count_nonzero(in_ends) == np.count_nonzero(returns))

    def _numbers(self, column: str, values: list[str]) -> Integers:
        if column == "day":
            return _parsed(values, self._days, parse_day)
        if column == "price":
            return _parsed(values, self._prices, parse_price)
        return np.array([self.ports.get(value, 0) for value in values], dtype=np.int64)

    def _read_line(self, line: bytes) -> Price | list[Violation]:
        if line.endswith(b"\n"):
            line = line[:-1].removesuffix(b"\r")
        return parse_line(line, self.columns, self.ports)


def _enumerated(data: bytes, chosen: npt.NDArray[np.bool_] | None) -> Iterator[tuple[int, bytes]]:
    """Yield the index of each line, or of each chosen one, and the line with its line end."""
    for at, line in enumerate(io.BytesIO(data)):
        if chosen is None or chosen[at]:
            yield at, line


def _distinct(column: "pd.Series[Any]") -> tuple[npt.NDArray[Any], list[Any]]:
    """Return for each row the index of its value, and the distinct values.

    Values that are not strings show an irregular structure.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy(), column.cat.categories.tolist()
    codes, values = pd.factorize(column)
    return codes, values.tolist()


def _parsed(values: list[str], cache: dict[str, int], parse: Callable[[str], int]) -> Integers:
    if len(cache) > CACHE_SIZE:
        cache.clear()
    try:
        return np.array(list(map(cache.__getitem__, values)), dtype=np.int64)
    except KeyError:
        for value in values:
            if value not in cache:
                cache[value] = parse(value)
        return np.array(list(map(cache.__getitem__, values)), dtype=np.int64)
