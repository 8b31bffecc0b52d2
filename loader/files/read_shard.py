"""Reads a shard once: checks its rows, derives rows from the valid ones, and reports the others.

A shard always digests its own parts of the object, but may check rows from elsewhere: all rows of a gzip file belong to
the first shard, and a shard of a Parquet file reads whole row groups.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ratesflow.database.reference import Reference
from ratesflow.loader.batches.batch import BLOCK_BYTES
from ratesflow.loader.batches.byte_ranges import ByteRange, Fetch, SpanReader, shard_groups, shard_range
from ratesflow.loader.batches.digest import PartDigests
from ratesflow.loader.dataset import Dataset, FileRejectedError, ShardValidator
from ratesflow.loader.files.detect import CSV, PARQUET, FileFormat, detect_format
from ratesflow.loader.files.gunzip import unpacked
from ratesflow.loader.files.jsonlines import EMPTY_OBJECT
from ratesflow.loader.files.lines import EMPTY_LINE, between, rows_end, whole_lines
from ratesflow.loader.files.report import ReportWriter, ValidationReport, merged
from ratesflow.loader.runtime import watchdog

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile


@dataclass(frozen=True)
class ShardScan:
    """The place of a shard's rows, and the digests of its parts.

    `rows` is a range of bytes of the object, of bytes of the text in a gzip file, or of row groups of a Parquet file.
    `file_format` is None and `digests` is empty when reading stopped early. `mixed_ends`: it is CSV, and some lines end
    in LF and some in CRLF, which COPY does not accept.
    """

    file_format: FileFormat | None
    rows: ByteRange
    digests: list[bytes]
    mixed_ends: bool = False


@dataclass
class _Text:
    """Totals of a shard's lines: bytes to the end of the last row, line ends, and the empty lines after it."""

    size: int = 0
    ends: int = 0
    returns: int = 0
    empty_lines: int = 0

    def add(self, data: bytes, lines: int) -> None:
        """Count rows."""
        self.size += len(data)
        self.empty_lines = 0
        self.ends += lines - (not data.endswith(b"\n"))
        self.returns += data.count(b"\r") if b"\r" in data else 0


@dataclass(frozen=True)
class _Task:
    """The input of one shard, and the destination of its results."""

    fetch: Fetch
    size: int
    shard: int
    shards: int
    validator: ShardValidator
    report: ReportWriter
    digests: PartDigests
    file_format: FileFormat

    @property
    def span(self) -> ByteRange:
        """The range of its parts."""
        return shard_range(self.size, self.shard, self.shards)

    @property
    def first_line(self) -> int:
        """The number of its first row: the line number in the first shard, 0 in later ones."""
        return 0 if self.shard else self.file_format.first_line


def read_shard(
    fetch: Fetch, size: int, validator: ShardValidator, report: ReportWriter, shard: int = 0, shards: int = 1
) -> ShardScan:
    """Check the rows of one shard of a batch of `size` bytes; violations go to `report`.

    Memory does not depend on the size. The first shard numbers the lines of the file, later shards count from 0.
    """
    span = shard_range(size, shard, shards)
    digests = PartDigests(span.stop - span.start)
    file = None
    try:
        file_format = detect_format(fetch, size, validator.schema)
        if file_format.kind == PARQUET:
            from ratesflow.loader.files.parquet import open_parquet

            file = open_parquet(fetch, size, validator.schema)
    except FileRejectedError as error:
        report.stopped = True
        if shard == 0:  # only the first shard reports it
            report.reject_file(error)
        return ShardScan(None, ByteRange(0, 0), [])
    report.first_line = file_format.first_line
    task = _Task(fetch, size, shard, shards, validator, report, digests, file_format)
    text = _Text()
    try:
        rows = _row_groups(task, file) if file else (_packed_text if file_format.gzipped else _plain_text)(task, text)
    except FileRejectedError as error:
        report.reject_file(error)
        return ShardScan(None, ByteRange(0, 0), [])
    # In valid rows, each carriage return is part of a line end.
    mixed_ends = file_format.kind == CSV and text.returns not in (0, text.ends)
    return ShardScan(file_format, rows, digests.finish(), mixed_ends)


def _plain_text(task: _Task, text: _Text) -> ByteRange:
    reader = SpanReader(task.fetch, task.span, task.size, task.file_format.header.bytes, task.digests)
    _check_text(task, reader.read(), text)
    return ByteRange(reader.lines.start, reader.lines.start + text.size)


def _packed_text(task: _Task, text: _Text) -> ByteRange:
    if task.shard:
        _digest(task)
        return ByteRange(0, 0)
    start = task.file_format.header.bytes
    blocks = task.digests.watched(task.fetch(0, task.size))
    _check_text(task, between(unpacked(blocks, task.size), start), text)
    return ByteRange(start, start + text.size)


def _check_text(task: _Task, blocks: Iterator[bytes], text: _Text) -> None:
    """Check lines. Empty lines are skipped unless a row follows them."""
    columns = task.file_format.header.columns
    if task.file_format.kind == CSV:
        check, empty_line = task.validator.csv_check(columns), EMPTY_LINE
    else:
        check, empty_line = task.validator.json_check(columns), EMPTY_OBJECT
    for line, lines, data in whole_lines(blocks, task.first_line):
        end = rows_end(data)
        empty_lines = data.count(b"\n", end)
        if end:
            task.report.reject_lines(line - text.empty_lines, text.empty_lines, empty_line)
            rows = data[:end]
            text.add(rows, lines - empty_lines)
            task.report.count(lines - empty_lines)
            check(rows, lines - empty_lines, task.report.reject_from(line))
        text.empty_lines += empty_lines
        watchdog.alive()
    task.report.skip(text.empty_lines, empty_line)


def _row_groups(task: _Task, file: "ParquetFile") -> ByteRange:
    from ratesflow.loader.files.parquet import record_batches

    groups = shard_groups(file.num_row_groups, task.shard, task.shards)
    task.report.expected_rows = sum(file.metadata.row_group(group).num_rows for group in groups)
    _digest(task)
    row = task.first_line
    for batch in record_batches(file, groups, row, task.validator.schema):
        task.report.count(batch.num_rows)
        try:
            task.validator.check_record_batch(batch, task.report.reject_from(row))
        except FileRejectedError as error:
            error.line = row
            raise
        row += batch.num_rows
    return ByteRange(groups.start, groups.stop)


def _digest(task: _Task) -> None:
    for block in task.fetch(task.span.start, task.span.stop):
        task.digests.update(block)


def validate_file(path: Path, dataset: Dataset, reference: Reference) -> ValidationReport:
    """Check a local file as validation would. Raises OSError when it cannot be read."""
    with ReportWriter(dataset.schema) as report, path.open("rb") as file:

        def fetch(start: int, stop: int) -> Iterator[bytes]:
            for at in range(start, stop, BLOCK_BYTES):
                file.seek(at)
                yield file.read(min(BLOCK_BYTES, stop - at))

        read_shard(fetch, path.stat().st_size, dataset.validator(reference), report)
        return merged([report.finish()], dataset.schema)
