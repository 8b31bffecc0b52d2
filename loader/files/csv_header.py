"""The header of a CSV batch: the order of its columns, and the offset of the first row."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass

from ratesflow.loader.dataset import MAX_LINE_BYTES, SHOWN, FileRejectedError

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Header:
    """`columns` in the file's order, and the offset in bytes of the first row."""

    columns: tuple[str, ...]
    bytes: int


def read_header(start: bytes, columns: Sequence[str]) -> Header:
    """Read the header of a file; `start` is its first 64 KiB, or all of it.

    Raises FileRejectedError when the file is not CSV with exactly these columns.
    """
    if not start:
        raise FileRejectedError(1, "empty_file", "the file is empty")
    line, line_end, _ = start.partition(b"\n")
    if not line_end and len(start) > MAX_LINE_BYTES:
        raise FileRejectedError(1, "line_too_long", f"the first line is longer than {MAX_LINE_BYTES:,} bytes")
    if b"\r" in line.removesuffix(b"\r"):
        raise FileRejectedError(1, "line_end", "a carriage return inside the first line; lines must end in LF or CRLF")
    try:
        text = line.removesuffix(b"\r").removeprefix(BOM).decode()
        names = next(csv.reader([text], strict=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileRejectedError(1, "not_csv", f"the first line cannot be read as CSV in UTF-8: {error}") from None
    _check_names(names, columns, text)
    return Header(tuple(names), len(line) + len(line_end))


def _check_names(names: list[str], columns: Sequence[str], text: str) -> None:
    missing = [name for name in columns if name not in names]
    extra = [name for name in names if name not in columns]
    doubled = sorted({name for name in names if names.count(name) > 1})
    wrong = [
        f"{what} {', '.join(map(repr, found))}"
        for what, found in (("missing", missing), ("unknown", extra), ("twice", doubled))
        if found
    ]
    if wrong:
        message = f"the header must name {', '.join(columns)}, in any order; {'; '.join(wrong)}"
        raise FileRejectedError(1, "wrong_header", message[:1000], text[:SHOWN])
