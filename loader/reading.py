"""One pass over the rows of a shard: checks them, counts their rates, and notes what is wrong.

What a shard checks and what it digests are two things: it always digests its own parts of the object, but the
rows of a gzip file are all those of the first shard, and those of a Parquet file go by row groups.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from database.reference import Reference
from loader import watchdog
from loader.batch import BLOCK_BYTES
from loader.chunks import Checker, Refuse
from loader.contract import Price, Problem, RefusedFileError
from loader.digest import PartDigests
from loader.formats import CSV, PARQUET, Layout, read_layout
from loader.gunzip import unpacked
from loader.jsonlines import as_csv, parse_object
from loader.lines import from_offset, whole_lines
from loader.rates import RateCounts
from loader.report import ReportWriter, ValidationReport, merged
from loader.rows import Rows
from loader.spans import Fetch, Span, SpanReader, shard_groups, shard_span

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

Check = Callable[[bytes, int, Refuse], Rows]


@dataclass(frozen=True)
class Reading:
    """What a shard found beside the problems. Nothing of it depends on the database.

    `rows` says where its rows are: bytes of the object, bytes of the text in a gzip file, or row groups of a
    Parquet file. `layout` is None and `digests` are empty when it stopped reading.
    """

    layout: Layout | None
    rows: Span
    digests: list[bytes]
    counts: RateCounts


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
    layout: Layout

    @property
    def span(self) -> Span:
        """The bytes of its parts."""
        return shard_span(self.size, self.shard, self.shards)

    @property
    def first_line(self) -> int:
        """The number of its first row: that of the file in the first shard, 0 in later ones."""
        return 0 if self.shard else self.layout.first_line


def read_shard(
    fetch: Fetch, size: int, ports: Sequence[str], report: ReportWriter, shard: int = 0, shards: int = 1
) -> Reading:
    """Check the rows of one shard of a batch of `size` bytes; problems go to `report`.

    Memory does not depend on the size. The first shard numbers lines as the file does, later ones from 0.
    """
    counts = RateCounts()
    span = shard_span(size, shard, shards)
    digests = PartDigests(span.stop - span.start)
    file = None
    try:
        layout = read_layout(fetch, size)
        if layout.kind == PARQUET:
            from loader.parquet import open_parquet

            file = open_parquet(fetch, size)
    except RefusedFileError as error:
        report.refused = True
        if shard == 0:  # one word about it is enough
            report.refuse_file(error)
        return Reading(None, Span(0, 0), [], counts)
    report.first_line = layout.first_line
    task = _Task(fetch, size, shard, shards, ports, report, counts, digests, layout)
    try:
        rows = _row_groups(task, file) if file else _packed_text(task) if layout.gzipped else _plain_text(task)
    except RefusedFileError as error:
        report.refuse_file(error)
        return Reading(None, Span(0, 0), [], counts)
    return Reading(layout, rows, digests.finish(), counts)


def _plain_text(task: _Task) -> Span:
    reader = SpanReader(task.fetch, task.span, task.size, task.layout.header.bytes, task.digests)
    _check_text(task, reader.read())
    return reader.lines


def _packed_text(task: _Task) -> Span:
    if task.shard:
        _digest(task)
        return Span(0, 0)
    start = task.layout.header.bytes
    blocks = task.digests.watched(task.fetch(0, task.size))
    return Span(start, start + _check_text(task, from_offset(unpacked(blocks, task.size), start)))


def _check_text(task: _Task, blocks: Iterator[bytes]) -> int:
    """Check lines; return how many bytes they had."""
    check = _text_check(task.layout, task.ports)
    size = 0
    for line, lines, data in whole_lines(blocks, task.first_line):
        task.report.count(lines)
        task.counts.add(check(data, lines, task.report.refuser(line)))
        size += len(data)
        watchdog.alive()
    return size


def _text_check(layout: Layout, ports: Sequence[str]) -> Check:
    checker = Checker(layout.header, ports)
    if layout.kind == CSV:
        return checker.check

    def read(line: bytes) -> Price | list[Problem]:
        return parse_object(line, checker.ports)

    def check(data: bytes, lines: int, refuse: Refuse) -> Rows:
        text = as_csv(data, lines, layout.header.columns)
        columns = None if text is None else checker.split(text, lines)
        if columns is None:
            return checker.line_by_line(data, refuse, read)
        return checker.kept(columns, data, refuse, read)

    return check


def _row_groups(task: _Task, file: "ParquetFile") -> Span:
    from loader.parquet import record_batches
    from loader.parquet_rows import check

    groups = shard_groups(file.num_row_groups, task.shard, task.shards)
    task.report.expected_rows = sum(file.metadata.row_group(group).num_rows for group in groups)
    _digest(task)
    numbers = {code: number for number, code in enumerate(task.ports, start=1)}
    row = task.first_line
    for batch in record_batches(file, groups, row):
        task.report.count(batch.num_rows)
        try:
            task.counts.add(check(batch, numbers, task.report.refuser(row)))
        except RefusedFileError as error:
            error.line = row
            raise
        row += batch.num_rows
    return Span(groups.start, groups.stop)


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
