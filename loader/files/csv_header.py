"""The first line of a CSV batch: which columns stand where, and where the rows begin."""

import csv
from dataclasses import dataclass

from ratesflow.loader.freight.schema import COLUMNS, MAX_LINE_BYTES, SHOWN, FileRejectedError

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Header:
    """`columns` in the file's order, and the offset in bytes of the first row."""

    columns: tuple[str, ...]
    bytes: int


def read_header(start: bytes) -> Header:
    """Read the first line of a file of which `start` is the beginning (64 KiB or all of it).

    Raises RefusedFileError when this is no CSV file with the four columns.
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
    _check_names(names, text)
    return Header(tuple(names), len(line) + len(line_end))


def _check_names(names: list[str], text: str) -> None:
    missing = [name for name in COLUMNS if name not in names]
    extra = [name for name in names if name not in COLUMNS]
    doubled = sorted({name for name in names if names.count(name) > 1})
    faults = [
        f"{what} {', '.join(map(repr, columns))}"
        for what, columns in (("missing", missing), ("unknown", extra), ("twice", doubled))
        if columns
    ]
    if faults:
        message = f"the header must name {', '.join(COLUMNS)}, in any order; {'; '.join(faults)}"
        raise FileRejectedError(1, "wrong_header", message[:1000], text[:SHOWN])
