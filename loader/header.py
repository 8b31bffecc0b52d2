"""The first line of a CSV batch: which columns stand where, how lines end, where the rows begin."""

import csv
from dataclasses import dataclass

from loader.contract import COLUMNS, MAX_LINE_BYTES, SHOWN

BOM = b"\xef\xbb\xbf"
# How other kinds of file begin, for a message that says what it is rather than what it is not.
FOREIGN = {
    b"\x1f\x8b": "a gzip file",
    b"PK\x03\x04": "a zip file or a workbook",
    b"PAR1": "a Parquet file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"\xd0\xcf\x11\xe0": "an old Office file",
    b"%PDF": "a PDF file",
    b"{": "JSON",
    b"[": "JSON",
}


class RefusedFileError(Exception):
    """The whole file is refused, at `line`, for a `reason` to count by; the rest of it is not looked at."""

    def __init__(self, line: int, reason: str, message: str, value: str = "") -> None:
        super().__init__(message)
        self.line, self.reason, self.value = line, reason, value


@dataclass(frozen=True)
class Header:
    """`columns` in the file's order, whether lines end in CRLF, and the offset in bytes of the first row."""

    columns: tuple[str, ...]
    crlf: bool
    bytes: int


def read_header(start: bytes) -> Header:
    """Read the first line of a file of which `start` is the beginning (64 KiB or all of it).

    Raises RefusedFileError when this is no CSV file with the four columns.
    """
    if not start:
        raise RefusedFileError(1, "empty_file", "the file is empty")
    for magic, kind in FOREIGN.items():
        if start.startswith(magic):
            raise RefusedFileError(1, "not_csv", f"this is {kind}; a batch is CSV with a header, in UTF-8")
    line, line_end, _ = start.partition(b"\n")
    if not line_end and len(start) > MAX_LINE_BYTES:
        raise RefusedFileError(1, "line_too_long", f"the first line is longer than {MAX_LINE_BYTES:,} bytes")
    crlf = bool(line_end) and line.endswith(b"\r")
    try:
        text = line.removesuffix(b"\r").removeprefix(BOM).decode()
        names = next(csv.reader([text], strict=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise RefusedFileError(1, "not_csv", f"the first line cannot be read as CSV in UTF-8: {error}") from None
    _check_names(names, text)
    return Header(tuple(names), crlf, len(line) + len(line_end))


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
        raise RefusedFileError(1, "wrong_header", message[:1000], text[:SHOWN])
