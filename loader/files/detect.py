"""The format of a batch, detected by its first bytes, never by its name."""

from dataclasses import dataclass

from ratesflow.loader.batches.batch import BLOCK_BYTES
from ratesflow.loader.batches.byte_ranges import Fetch
from ratesflow.loader.dataset import MAX_LINE_BYTES, FileRejectedError, RowSchema
from ratesflow.loader.files.csv_header import BOM, Header, read_header
from ratesflow.loader.files.gunzip import MAGIC as GZIP
from ratesflow.loader.files.gunzip import unpacked
from ratesflow.loader.files.jsonlines import columns_of

CSV, JSON_LINES, PARQUET = "csv", "jsonl", "parquet"
# How other kinds of file begin, for a message that names the kind.
FOREIGN = {
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
    b"[": "a JSON array; JSON Lines has one object a line, with nothing around them",
}
ACCEPTED = "a batch is CSV with a header or JSON Lines, in UTF-8, either of them gzipped or not, or Parquet"


@dataclass(frozen=True)
class FileFormat:
    """How a batch is written: `kind` is csv, jsonl or parquet, and text may be `gzipped`.

    The header's columns are in the order of the file; its bytes are those of the text before the first row.
    """

    kind: str
    gzipped: bool
    header: Header

    @property
    def first_line(self) -> int:
        """The number of the first row's line; the rows of a Parquet file, which has no lines, count from 1."""
        return 2 if self.kind == CSV else 1


def detect_format(fetch: Fetch, size: int, schema: RowSchema) -> FileFormat:
    """Return the format of a batch of `size` bytes. Raises FileRejectedError when it has none of the formats."""
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
            raise FileRejectedError(1, "unknown_format", f"the gzip file holds a file of {kind} again; {ACCEPTED}")
    for magic, kind in FOREIGN.items():
        if start.removeprefix(BOM).lstrip().startswith(magic):
            raise FileRejectedError(1, "unknown_format", f"this is {kind}; {ACCEPTED}")
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
        # Reading the text up to there raises this again, with its line.
        if b"\n" not in text:
            error.line = 1
            raise
    if not text:
        raise FileRejectedError(1, "empty_file", "the gzip file holds nothing")
    return text[: MAX_LINE_BYTES + 1]
