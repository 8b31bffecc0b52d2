"""Splits lines of the usual shape, CNSHA,NLRTM,2021-01-31,1000, without searching for commas.

Purpose: less CPU time in `validate`, the largest part of loading (`python -m benchmarks load`, `load_1m_vs_bare_copy`).
Codes and days have fixed lengths, so only the length of the price varies. A field is read as an integer of eight bytes,
and only distinct integers are converted to text. pandas splits a piece of any other shape; a test compares the results.
To switch it off, let `split` return None: `csv_columns` then splits every piece with pandas.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ratesflow.loader.freight.pandas_without_arrow import pd

WIDTHS = {"orig_code": 5, "dest_code": 5, "day": 10}
# The most digits of a price: the bytes of a word.
WORD_BYTES = 8
COMMA, RETURN, LINE_END = ord(","), ord("\r"), ord("\n")

Words = npt.NDArray[np.uint64]
Distinct = tuple[npt.NDArray[Any], list[str]]
"""For each line the index of its value, and the distinct values."""


def split(data: bytes, lines: int, names: Sequence[str]) -> dict[str, Distinct] | None:
    """Return the columns of a piece with three commas per line on average; None if a line has another shape.

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
    if len(stops) != lines or digits.min() < 1 or digits.max() > WORD_BYTES:
        return None
    # The eight bytes from each offset as a little-endian number; zeros follow the last byte.
    words = np.ndarray((len(data),), dtype="<u8", buffer=data + bytes(WORD_BYTES), strides=(1,))
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
    """Return words with their first `width` bytes, followed by zeros."""
    unused = np.uint64(8) * (WORD_BYTES - np.asarray(width)).astype(np.uint64)
    cut: Words = words << unused >> unused
    return cut


def _days(words: Words, at: npt.NDArray[np.int64]) -> Distinct:
    """Return a column of ten bytes: a word such as `2021-01-`, and two more bytes."""
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
