"""One pass over the lines of a shard: checks them, counts their rates, and notes what is wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from database.reference import Reference
from loader.batch import PART_BYTES
from loader.chunks import Checker, whole_lines
from loader.contract import MAX_LINE_BYTES
from loader.header import Header, RefusedFileError, read_header
from loader.rates import RateCounts
from loader.report import ReportWriter, ValidationReport, merged
from loader.spans import Fetch, Span, SpanReader, shard_span


@dataclass(frozen=True)
class Reading:
    """What a shard found beside the problems. Nothing of it depends on the database.

    `lines` are the bytes of its lines, `digests` those of its parts; both are empty when it stopped reading.
    """

    header: Header | None
    lines: Span
    digests: list[bytes]
    counts: RateCounts


def read_shard(
    fetch: Fetch, size: int, ports: Sequence[str], report: ReportWriter, shard: int = 0, shards: int = 1
) -> Reading:
    """Check the lines of one shard of a batch of `size` bytes; problems go to `report`.

    Memory does not depend on the size. The first shard numbers lines as the file does, later ones from 0.
    """
    counts = RateCounts()
    try:
        header = read_header(b"".join(fetch(0, min(size, MAX_LINE_BYTES + 1))))
    except RefusedFileError as error:
        report.refused = True
        if shard == 0:  # one word about it is enough
            report.refuse_file(error)
        return Reading(None, Span(0, 0), [], counts)
    reader = SpanReader(fetch, shard_span(size, shard, shards), size, header.bytes)
    checker = Checker(header, ports)
    try:
        for line, data in whole_lines(reader.read(), first_line=0 if shard else 2):
            checked = checker.check(data)
            report.count(checked.lines)
            counts.add(checked.good)
            for at in sorted(checked.problems):
                report.refuse(line + at, checked.problems[at])
    except RefusedFileError as error:
        report.refuse_file(error)
        return Reading(header, Span(0, 0), [], counts)
    return Reading(header, reader.lines, reader.digests, counts)


def validate_file(path: Path, reference: Reference) -> ValidationReport:
    """Check a local file as its batch would be checked. Raises OSError when it cannot be read."""
    with ReportWriter() as report, path.open("rb") as file:

        def fetch(start: int, stop: int) -> Iterator[bytes]:
            for at in range(start, stop, PART_BYTES):
                file.seek(at)
                yield file.read(min(PART_BYTES, stop - at))

        read_shard(fetch, path.stat().st_size, sorted(reference.ports), report)
        return merged([report.finish()])
