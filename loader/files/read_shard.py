"""One pass over the rows of a shard: checks them, counts their rates, and notes what is wrong.

What a shard checks and what it digests are two things: it always digests its own parts of the object, but the
rows of a gzip file are all those of the first shard, and those of a Parquet file go by row groups.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ratesflow.database.reference import Reference
from ratesflow.loader.batches.batch import BLOCK_BYTES
from ratesflow.loader.batches.byte_ranges import ByteRange, Fetch, SpanReader, shard_groups, shard_range
from ratesflow.loader.batches.digest import PartDigests
from ratesflow.loader.files.detect import CSV, PARQUET, FileFormat, read_layout
from ratesflow.loader.files.gunzip import unpacked
from ratesflow.loader.files.jsonlines import EMPTY_OBJECT, as_csv, parse_object
from ratesflow.loader.files.lines import between, rows_end, whole_lines
from ratesflow.loader.files.report import ReportWriter, ValidationReport, merged
from ratesflow.loader.freight.csv_columns import Refuse, VectorizedValidator
from ratesflow.loader.freight.rates import RateCounts
from ratesflow.loader.freight.rows import Rows
from ratesflow.loader.freight.schema import EMPTY_LINE, FileRejectedError, Price, Violation
from ratesflow.loader.runtime import watchdog

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

Check = Callable[[bytes, int, Refuse], Rows]


@dataclass(frozen=True)
class ShardScan:
    """What a shard found beside the problems. Nothing of it depends on the database.

    `rows` says where its rows are: bytes of the object, bytes of the text in a gzip file, or row groups of a
    Parquet file. `layout` is None and `digests` are empty when it stopped reading. `mixed_ends` says that some
    lines of CSV end in LF and some in CRLF, which COPY does not take.
    """

    layout: FileFormat | None
    rows: ByteRange
    digests: list[bytes]
    counts: RateCounts
    mixed_ends: bool = False


@dataclass
class _Text:
    """What a shard's lines came to: bytes to the end of the last row, line ends, and the empty lines after it."""

    size: int = 0
    ends: int = 0
    returns: int = 0
    empty_lines: int = 0

    def add(self, data: bytes, lines: int) -> None:
        """Take rows."""
        self.size += len(data)
        self.empty_lines = 0
        self.ends += lines - (not data.endswith(b"\n"))
        self.returns += data.count(b"\r") if b"\r" in data else 0


@dataclass(frozen=True)
class _Task:
    """What one shard has to do, and where it puts what it finds."""

    fetch: Fetch
    size: int
    shard: int
    shards: int
    ports: Sequence[str]
    report: ReportWriter
    counts: RateCounts
    digests: PartDigests
    layout: FileFormat

    @property
    def span(self) -> ByteRange:
        """The bytes of its parts."""
        return shard_range(self.size, self.shard, self.shards)

    @property
    def first_line(self) -> int:
        """The number of its first row: that of the file in the first shard, 0 in later ones."""
        return 0 if self.shard else self.layout.first_line


def read_shard(
    fetch: Fetch, size: int, ports: Sequence[str], report: ReportWriter, shard: int = 0, shards: int = 1
) -> ShardScan:
    """Check the rows of one shard of a batch of `size` bytes; problems go to `report`.

    Memory does not depend on the size. The first shard numbers lines as the file does, later ones from 0.
    """
    counts = RateCounts()
    span = shard_range(size, shard, shards)
    digests = PartDigests(span.stop - span.start)
    file = None
    try:
        layout = read_layout(fetch, size)
        if layout.kind == PARQUET:
            from ratesflow.loader.files.parquet import open_parquet

            file = open_parquet(fetch, size)
    except FileRejectedError as error:
        report.refused = True
        if shard == 0:  # one word about it is enough
            report.refuse_file(error)
        return ShardScan(None, ByteRange(0, 0), [], counts)
    report.first_line = layout.first_line
    task = _Task(fetch, size, shard, shards, ports, report, counts, digests, layout)
    text = _Text()
    try:
        rows = _row_groups(task, file) if file else (_packed_text if layout.gzipped else _plain_text)(task, text)
    except FileRejectedError as error:
        report.refuse_file(error)
        return ShardScan(None, ByteRange(0, 0), [], counts)
    # Of the rows that are accepted, each carriage return is one of a line end.
    return ShardScan(layout, rows, digests.finish(), counts, layout.kind == CSV and text.returns not in (0, text.ends))


def _plain_text(task: _Task, text: _Text) -> ByteRange:
    reader = SpanReader(task.fetch, task.span, task.size, task.layout.header.bytes, task.digests)
    _check_text(task, reader.read(), text)
    return ByteRange(reader.lines.start, reader.lines.start + text.size)


def _packed_text(task: _Task, text: _Text) -> ByteRange:
    if task.shard:
        _digest(task)
        return ByteRange(0, 0)
    start = task.layout.header.bytes
    blocks = task.digests.watched(task.fetch(0, task.size))
    _check_text(task, between(unpacked(blocks, task.size), start), text)
    return ByteRange(start, start + text.size)


def _check_text(task: _Task, blocks: Iterator[bytes], text: _Text) -> None:
    """Check lines. Empty ones are passed over while no row follows them."""
    check, empty_line = _text_check(task.layout, task.ports)
    for line, lines, data in whole_lines(blocks, task.first_line):
        end = rows_end(data)
        empty_lines = data.count(b"\n", end)
        if end:
            task.report.refuse_run(line - text.empty_lines, text.empty_lines, empty_line)
            rows = data[:end]
            text.add(rows, lines - empty_lines)
            task.report.count(lines - empty_lines)
            task.counts.add(check(rows, lines - empty_lines, task.report.refuser(line)))
        text.empty_lines += empty_lines
        watchdog.alive()
    task.report.pass_over(text.empty_lines, empty_line)


def _text_check(layout: FileFormat, ports: Sequence[str]) -> tuple[Check, Violation]:
    """Return the check of a piece, and what is wrong with an empty line."""
    checker = VectorizedValidator(layout.header, ports)
    if layout.kind == CSV:
        return checker.check, EMPTY_LINE

    def read(line: bytes) -> Price | list[Violation]:
        return parse_object(line, checker.ports)

    def check(data: bytes, lines: int, refuse: Refuse) -> Rows:
        text = as_csv(data, lines, layout.header.columns)
        columns = None if text is None else checker.split(text, lines)
        if columns is None:
            return checker.line_by_line(data, refuse, read)
        return checker.kept(columns, data, refuse, read)

    return check, EMPTY_OBJECT


def _row_groups(task: _Task, file: "ParquetFile") -> ByteRange:
    from ratesflow.loader.files.parquet import record_batches
    from ratesflow.loader.freight.parquet_columns import check

    groups = shard_groups(file.num_row_groups, task.shard, task.shards)
    task.report.expected_rows = sum(file.metadata.row_group(group).num_rows for group in groups)
    _digest(task)
    numbers = {code: number for number, code in enumerate(task.ports, start=1)}
    row = task.first_line
    for batch in record_batches(file, groups, row):
        task.report.count(batch.num_rows)
        try:
            task.counts.add(check(batch, numbers, task.report.refuser(row)))
        except FileRejectedError as error:
            error.line = row
            raise
        row += batch.num_rows
    return ByteRange(groups.start, groups.stop)


def _digest(task: _Task) -> None:
    for block in task.fetch(task.span.start, task.span.stop):
        task.digests.update(block)


def validate_file(path: Path, reference: Reference) -> ValidationReport:
    """Check a local file as its batch would be checked. Raises OSError when it cannot be read."""
    with ReportWriter() as report, path.open("rb") as file:

        def fetch(start: int, stop: int) -> Iterator[bytes]:
            for at in range(start, stop, BLOCK_BYTES):
                file.seek(at)
                yield file.read(min(BLOCK_BYTES, stop - at))

        read_shard(fetch, path.stat().st_size, sorted(reference.ports), report)
        return merged([report.finish()])
