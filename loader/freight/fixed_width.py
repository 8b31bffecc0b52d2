"""Splits lines of the one common shape, CNSHA,NLRTM,2021-01-31,1000, without searching for commas.

What it buys: CPU time of `validate`, the largest part of loading (`python -m benchmarks load`, `load_1m_vs_bare_copy`).
Codes and days have one length each, so only the price's varies. A field is taken as an integer of eight bytes, and only
the distinct ones become text. A piece of another shape is split by pandas, with the same result: a test compares both.
To switch it off, let `split` return None: `csv_columns` then splits every piece with pandas.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ratesflow.loader.freight.pandas_without_arrow import pd

WIDTHS = {"orig_code": 5, "dest_code": 5, "day": 10}
# Of a price, in digits: what a number of eight bytes holds.
LONGEST = 8
COMMA, RETURN, LINE_END = ord(","), ord("\r"), ord("\n")

Words = npt.NDArray[np.uint64]
Distinct = tuple[npt.NDArray[Any], list[str]]
"""For each line the number of its value, and the distinct values."""


def split(data: bytes, lines: int, names: Sequence[str]) -> dict[str, Distinct] | None:
    """Return the columns of a piece that has three commas a line on average; None if a line has another shape.

    Carriage returns may only precede line ends.
    """
    if b'"' in data or not data.isascii() or not data.endswith(b"\n"):
        return None
    text = np.frombuffer(data, dtype=np.uint8)
    stops = np.flatnonzero(text == LINE_END)
    starts = np.concatenate(([0], stops[:-1] + 1))
    if b"\r" in data:
        stops -= text[stops - 1] == RETURN
    digits = stops - starts - sum(WIDTHS.values()) - len(WIDTHS)
    if len(stops) != lines or digits.min() < 1 or digits.max() > LONGEST:
        return None
    # The eight bytes from each byte on, as numbers whose lowest byte is the first; zeros stand behind the last.
    words = np.ndarray((len(data),), dtype="<u8", buffer=data + bytes(LONGEST), strides=(1,))
    found, at = {}, starts
    for name in names:
        width = WIDTHS.get(name, digits)
        found[name] = _days(words, at) if name == "day" else _distinct(_cut(words[at], width))
        at = at + width
        if name != names[-1] and np.any(words[at] & 0xFF != COMMA):
            return None
        at = at + 1
    return found


def _cut(words: Words, width: int | npt.NDArray[np.int64]) -> Words:
    """Return the first bytes of words, zeros behind them."""
    unused = np.uint64(8) * (LONGEST - np.asarray(width)).astype(np.uint64)
    cut: Words = words << unused >> unused
    return cut


def _days(words: Words, at: npt.NDArray[np.int64]) -> Distinct:
    """Return the values of a column of ten bytes: `2021-01-`, and two more."""
    months, firsts = pd.factorize(words[at])
    codes, keys = pd.factorize(_cut(words[at + 8], 2) | months.astype(np.uint64) << np.uint64(16))
    values = zip(_texts(firsts[keys >> np.uint64(16)]), _texts(keys & np.uint64(0xFFFF)), strict=True)
    return codes, ["".join(pair) for pair in values]


def _distinct(words: Words) -> Distinct:
    codes, found = pd.factorize(words)
    return codes, _texts(found)


def _texts(words: Words) -> list[str]:
    found: list[str] = np.asarray(words, dtype="<u8").view("S8").astype(str).tolist()
    return found
