"""The rows of a validated shard as the text that COPY takes: read as validation read them, digested on the way.

CSV is copied as it stands, but that all lines of a shard get one end if they have two. JSON Lines and Parquet are
turned into CSV piece by piece; pandas is not needed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ratesflow.loader.batches.byte_ranges import ByteRange, Fetch
from ratesflow.loader.batches.digest import PartDigests
from ratesflow.loader.files.detect import CSV, PARQUET
from ratesflow.loader.files.gunzip import unpacked
from ratesflow.loader.files.lines import between, whole_lines, with_plain_ends
from ratesflow.loader.freight.schema import FileRejectedError

COPY_RATES = "COPY rates (batch_no, month, orig_code, dest_code, counts, sums) FROM STDIN WITH (ENCODING 'UTF8')"


class ChangedError(Exception):
    """The bytes cannot be read as they were when they were validated."""


@dataclass(frozen=True)
class Source:
    """Where a shard's rows are, as validation found them; `span` are the bytes of the object that it digests.

    `mixed_ends` says that its lines of CSV do not all end alike.
    """

    fetch: Fetch
    size: int
    span: ByteRange
    kind: str
    gzipped: bool
    columns: Sequence[str]
    rows: ByteRange
    mixed_ends: bool = False


def copied(source: Source, digests: PartDigests) -> Iterator[bytes]:
    """Yield the rows as CSV, each line with the columns in `source.columns`; all of the span goes to `digests`.

    Raises ChangedError when the file is not what validation accepted.
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
        yield rows_as_csv(piece, lines, source.columns)


def _row_groups(source: Source, digests: PartDigests) -> Iterator[bytes]:
    from ratesflow.loader.files.parquet import open_parquet, record_batches, rows_as_csv

    for block in source.fetch(source.span.start, source.span.stop):
        digests.update(block)
    if source.rows.start < source.rows.stop:
        file = open_parquet(source.fetch, source.size)
        for batch in record_batches(file, range(source.rows.start, source.rows.stop), 1):
            yield rows_as_csv(batch)
