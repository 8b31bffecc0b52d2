"""Detects the format of a batch from its first bytes, never from its name."""

from dataclasses import dataclass

from ratesflow.loader.batches.batch import BLOCK_BYTES
from ratesflow.loader.batches.byte_ranges import Fetch
from ratesflow.loader.dataset import MAX_LINE_BYTES, FileRejectedError, RowSchema
from ratesflow.loader.files.csv_header import BOM, Header, read_header
from ratesflow.loader.files.gunzip import MAGIC as GZIP
from ratesflow.loader.files.gunzip import unpacked
from ratesflow.loader.files.jsonlines import columns_of

CSV, JSON_LINES, PARQUET = "csv", "jsonl", "parquet"
# The first bytes of other kinds of files, to name the kind in the message.
OTHER_KINDS = {
    b"PK\x03\x04": "a zip file or a workbook",
    b"PARE": "a Parquet file with an encrypted footer",
    b"BZh": "a bzip2 file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"\xfd7zXZ": "an xz file",
    b"7z\xbc\xaf": "a 7-Zip file",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"\xd0\xcf\x11\xe0": "an old Office file",
    b"%PDF": "a PDF file",
    b"<": "XML or HTML",
    b"[": "a JSON array; JSON Lines has one object per line and nothing else",
}
FORMATS = "a batch is CSV with a header or JSON Lines, in UTF-8 and optionally gzipped, or Parquet"


@dataclass(frozen=True)
class FileFormat:
    """The format of a batch: `kind` is csv, jsonl or parquet; CSV and JSON Lines may be `gzipped`.

    `header` has the columns in the order of the file, and the number of bytes of text before the first row.
    """

    kind: str
    gzipped: bool
    header: Header

    @property
    def first_line(self) -> int:
        """The line number of the first row. Parquet has no lines; its rows are numbered from 1."""
        return 2 if self.kind == CSV else 1


def detect_format(fetch: Fetch, size: int, schema: RowSchema) -> FileFormat:
    """Return the format of a batch of `size` bytes. Raises FileRejectedError when no format matches."""
    start = b"".join(fetch(0, min(size, MAX_LINE_BYTES + 1)))
    if not start:
        raise FileRejectedError(1, "empty_file", "the file is empty")
    if start.startswith(b"PAR1"):
        return FileFormat(PARQUET, False, Header(schema.names, 0))
    gzipped = start.startswith(GZIP)
    if gzipped:
        start = _first_text(fetch, size)
        if start.startswith((GZIP, b"PAR1")):
            kind = "gzip" if start.startswith(GZIP) else "Parquet"
            raise FileRejectedError(1, "unknown_format", f"the gzip file contains a {kind} file; {FORMATS}")
    for magic, kind in OTHER_KINDS.items():
        if start.removeprefix(BOM).lstrip().startswith(magic):
            raise FileRejectedError(1, "unknown_format", f"this is {kind}; {FORMATS}")
    if start.removeprefix(BOM).lstrip().startswith(b"{"):
        bom = len(BOM) if start.startswith(BOM) else 0
        return FileFormat(JSON_LINES, gzipped, Header(columns_of(start[bom:].partition(b"\n")[0], schema), bom))
    return FileFormat(CSV, gzipped, read_header(start, schema.names))


def _first_text(fetch: Fetch, size: int) -> bytes:
    """Return the first 64 KiB of a gzip file's text, or all of it."""
    text = b""
    try:
        for block in unpacked(fetch(0, min(size, BLOCK_BYTES)), size):
            text += block
            if len(text) > MAX_LINE_BYTES:
                break
    except FileRejectedError as error:
        # Reading the rows later raises this error again, with its line number.
        if b"\n" not in text:
            error.line = 1
            raise
    if not text:
        raise FileRejectedError(1, "empty_file", "the gzip file contains no data")
    return text[: MAX_LINE_BYTES + 1]
