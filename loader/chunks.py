"""Checks millions of rows by looking at each distinct value once: the contract, vectorised with pandas.

pandas splits a piece of the file into columns of categories. Each category is looked up or parsed by the
plain functions of `loader.contract`, and the results are spread over the rows. A piece whose structure is
in doubt (commas that do not add up, stray line ends, NUL bytes) is read line by line instead.
"""

import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from loader.contract import COLUMNS, MAX_LINE_BYTES, Price, Problem, parse_day, parse_line, parse_price
from loader.header import Header, RefusedFileError

_TYPES: dict[str, Any] = {**dict.fromkeys(COLUMNS, "category"), "price": object}
Integers = npt.NDArray[np.int64]
# Days and prices by their text, so that a day is parsed once a file; emptied when a file has too many.
REMEMBERED = 1_000_000


@dataclass(frozen=True)
class Rows:
    """Good rows as four arrays of the same length: numbers of ports, days since 0001-01-01, US dollars."""

    origs: Integers
    dests: Integers
    days: Integers
    prices: Integers

    def __len__(self) -> int:
        return len(self.prices)


@dataclass(frozen=True)
class Checked:
    """What a piece of the file holds: its number of lines, its good rows, and what is wrong, by line."""

    lines: int
    good: Rows
    problems: dict[int, list[Problem]]


def whole_lines(parts: Iterable[bytes], first_line: int) -> Iterator[tuple[int, bytes]]:
    """Cut parts of a file at line ends; yield the number of the first line of each piece, and the piece.

    Raises RefusedFileError at a line of more than 64 KiB that a part does not end.
    """
    line, rest = first_line, b""
    for part in parts:
        data = rest + part
        end = data.rfind(b"\n") + 1
        rest = data[end:]
        if end:
            yield line, data[:end]
            line += data.count(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            raise RefusedFileError(line, "line_too_long", f"a line of more than {MAX_LINE_BYTES:,} bytes")
    if rest:
        yield line, rest


def _distinct(column: "pd.Series[Any]") -> tuple[npt.NDArray[Any], list[Any]]:
    """Return for each row the number of its value, and the distinct values; numbers among them are a bad sign."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy(), column.cat.categories.tolist()
    codes, values = pd.factorize(column)
    return codes, values.tolist()


class Checker:
    """Checks pieces of one file. Ports are numbered from 1 in the order of `ports`."""

    def __init__(self, header: Header, ports: Iterable[str]) -> None:
        self.header = header
        self.ports = {code: number for number, code in enumerate(ports, start=1)}
        self._days: dict[str, int] = {}
        self._prices: dict[str, int] = {}

    def check(self, data: bytes) -> Checked:
        """Check a piece that ends at a line end, or at the end of the file. Problems are keyed from 0."""
        lines = data.count(b"\n") + (not data.endswith(b"\n"))
        columns = self._split(data, lines)
        if columns is None:
            return self._line_by_line(data, lines)
        bad = np.zeros(lines, dtype=bool)
        for values in columns.values():
            bad |= values == 0
        if not bad.any():
            return Checked(lines, Rows(*(columns[name] for name in COLUMNS)), {})
        texts = data.split(b"\n")
        problems = {int(at): self._explain(texts[at]) for at in np.flatnonzero(bad)}
        return Checked(lines, Rows(*(columns[name][~bad] for name in COLUMNS)), problems)

    def _split(self, data: bytes, lines: int) -> dict[str, Integers] | None:
        """Return the four columns as numbers, 0 where a value is bad; None if the structure is in doubt."""
        if not self._regular(data, lines):
            return None
        try:
            with warnings.catch_warnings():
                # A field too many in the first line; the commas tell of it, and the columns below.
                warnings.simplefilter("ignore", pd.errors.ParserWarning)
                frame = self._frame(data)
        except ValueError:  # pandas' parser errors are ValueErrors
            return None
        if len(frame) != lines:
            return None
        columns = {}
        for name in COLUMNS:
            codes, values = _distinct(frame[name])
            # An empty value may be a missing field, and then another row has one too many.
            if codes.min() < 0 or any(not isinstance(value, str) or not value for value in values):
                return None
            columns[name] = self._numbers(name, values)[codes]
        return columns

    def _frame(self, data: bytes) -> pd.DataFrame:
        return pd.read_csv(
            io.BytesIO(data),
            header=None,
            names=self.header.columns,
            index_col=False,
            # As categories, prices would be taken for numbers, and +5 for 5.
            dtype=_TYPES,
            na_filter=False,
            skip_blank_lines=False,
            low_memory=False,
            encoding="latin-1",  # never fails: what is not ASCII breaks the contract anyway
        )

    def _regular(self, data: bytes, lines: int) -> bool:
        if data.count(b",") != 3 * lines or b"\0" in data:
            return False
        if self.header.crlf:
            return data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r")
        return b"\r" not in data

    def _numbers(self, column: str, values: Iterable[str]) -> Integers:
        if column == "day":
            return self._parsed(values, self._days, parse_day)
        if column == "price":
            return self._parsed(values, self._prices, parse_price)
        return np.array([self.ports.get(value, 0) for value in values], dtype=np.int64)

    @staticmethod
    def _parsed(values: Iterable[str], known: dict[str, int], parse: Callable[[str], int]) -> Integers:
        if len(known) > REMEMBERED:
            known.clear()
        numbers = []
        for value in values:
            number = known.get(value)
            if number is None:
                number = known[value] = parse(value)
            numbers.append(number)
        return np.array(numbers, dtype=np.int64)

    def _explain(self, line: bytes) -> list[Problem]:
        found = parse_line(line.removesuffix(b"\r"), self.header.columns, self.ports)
        assert not isinstance(found, Price), f"the two readings of a line differ: {line!r}"
        return found

    def _line_by_line(self, data: bytes, lines: int) -> Checked:
        good: list[tuple[int, int, int, int]] = []
        problems: dict[int, list[Problem]] = {}
        texts = data.split(b"\n")
        for at, line in enumerate(texts[:lines]):
            ended = at < len(texts) - 1
            found = self._line(line, ended)
            if isinstance(found, Price):
                good.append((self.ports[found.orig_code], self.ports[found.dest_code], found.day, found.price))
            else:
                problems[at] = found
        columns = np.array(good, dtype=np.int64).reshape(-1, 4).T
        return Checked(lines, Rows(*columns), problems)

    def _line(self, line: bytes, ended: bool) -> Price | list[Problem]:
        if self.header.crlf and ended:
            if not line.endswith(b"\r"):
                shown = line[:100].decode(errors="replace")
                return [Problem("", shown, "line_end", "ends in LF, but the first line ends in CRLF")]
            line = line.removesuffix(b"\r")
        return parse_line(line, self.header.columns, self.ports)
