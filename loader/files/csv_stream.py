"""Streams the rows of a validated shard as CSV for COPY, and digests the bytes meanwhile.

CSV is copied unchanged, except that mixed line ends (LF and CRLF) become LF. JSON Lines and Parquet are converted to
CSV piece by piece, without pandas.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ratesflow.loader.batches.byte_ranges import ByteRange, Fetch
from ratesflow.loader.batches.digest import PartDigests
from ratesflow.loader.dataset import FileRejectedError, RowSchema
from ratesflow.loader.files.detect import CSV, PARQUET
from ratesflow.loader.files.gunzip import unpacked
from ratesflow.loader.files.lines import between, whole_lines, with_plain_ends


class ChangedError(Exception):
    """The bytes differ from those that were validated."""


@dataclass(frozen=True)
class Source:
    """The place and format of a shard's rows, from validation; `span` is the range of the object that it digests.

    `mixed_ends`: it is CSV, and some lines end in LF, some in CRLF.
    """

    fetch: Fetch
    size: int
    schema: RowSchema
    span: ByteRange
    kind: str
    gzipped: bool
    columns: Sequence[str]
    rows: ByteRange
    mixed_ends: bool = False


def csv_stream(source: Source, digests: PartDigests) -> Iterator[bytes]:
    """Yield the rows as CSV with the columns `source.columns`; `digests` digests all bytes of the span.

    Raises ChangedError when the file differs from the one that was validated.
    """
    try:
        if source.kind == PARQUET:
            yield from _row_groups(source, digests)
        elif source.kind == CSV:
            text = _text(source, digests)
            yield from with_plain_ends(text) if source.mixed_ends else text
        else:
            yield from _json_lines(source, digests)
    except (FileRejectedError, ValueError) as error:
        raise ChangedError(str(error)) from error


def _text(source: Source, digests: PartDigests) -> Iterator[bytes]:
    if source.gzipped and source.rows.stop:
        blocks = digests.watched(source.fetch(0, source.size))
        yield from between(unpacked(blocks, source.size), source.rows.start, source.rows.stop)
        return
    at = source.span.start
    for block in digests.watched(source.fetch(source.span.start, source.span.stop)):
        wanted = block[max(source.rows.start - at, 0) : max(source.rows.stop - at, 0)]
        if wanted:
            yield wanted
        at += len(block)
    if source.rows.stop > at:
        yield from source.fetch(at, source.rows.stop)


def _json_lines(source: Source, digests: PartDigests) -> Iterator[bytes]:
    from ratesflow.loader.files.jsonlines import rows_as_csv

    for _, lines, piece in whole_lines(_text(source, digests), 1):
        yield rows_as_csv(piece, lines, source.columns, source.schema)


def _row_groups(source: Source, digests: PartDigests) -> Iterator[bytes]:
    from ratesflow.loader.files.parquet import open_parquet, record_batches, rows_as_csv

    for block in source.fetch(source.span.start, source.span.stop):
        digests.update(block)
    if source.rows.start < source.rows.stop:
        file = open_parquet(source.fetch, source.size, source.schema)
        groups = range(source.rows.start, source.rows.stop)
        for batch in record_batches(file, groups, 1, source.schema):
            yield rows_as_csv(batch, source.schema)
