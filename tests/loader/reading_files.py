"""What validation and load make of the bytes of a file, without a database and a bucket."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from ratesflow.loader.batches.byte_ranges import ByteRange, Fetch
from ratesflow.loader.batches.digest import PartDigests
from ratesflow.loader.files.csv_stream import Source, csv_stream
from ratesflow.loader.files.detect import detect_format
from ratesflow.loader.files.read_shard import ShardScan, read_shard
from ratesflow.loader.files.report import ReportWriter, ValidationReport, merged
from ratesflow.loader.freight.rates import RateCounts, lane_months
from ratesflow.loader.freight.schema import ROWS
from ratesflow.loader.freight.validator import PriceValidator

Rates = dict[tuple[str, str, int], tuple[int, int]]
PORTS = ["CNSHA", "NLRTM", "USNYC"]


def fetch_from(data: bytes, block: int = 1 << 20) -> Fetch:
    """Return what reads a file that is in memory."""

    def fetch(start: int, stop: int) -> Iterator[bytes]:
        for at in range(start, stop, block):
            yield data[at : min(at + block, stop)]

    return fetch


@dataclass(frozen=True)
class CountedScan(ShardScan):
    """A scan with the rates that were counted."""

    counts: RateCounts | None = None


def validated(data: bytes) -> tuple[ValidationReport, CountedScan]:
    """Validate a file of prices between three ports."""
    with ReportWriter(ROWS) as report:
        validator = PriceValidator(PORTS)
        scan = read_shard(fetch_from(data), len(data), validator, report)
        return merged([report.finish()], ROWS), CountedScan(**vars(scan), counts=validator.counts)


def counted(reading: CountedScan) -> Rates:
    """Return count and sum by lane and day, as validation counted them."""
    found: Rates = {}
    assert reading.counts is not None
    for lanes in lane_months(reading.counts.read()):
        for orig, dest, month, counts, sums in zip(*lanes, strict=True):
            first = date(month // 12, month % 12 + 1, 1).toordinal()
            for at in counts.nonzero()[0].tolist():
                found[PORTS[orig - 1], PORTS[dest - 1], first + at] = (int(counts[at]), int(sums[at]))
    return found


def recounted(rows: Iterable[tuple[str, str, int, int]]) -> Rates:
    """Return the same for rows, one at a time."""
    found: Rates = {}
    for orig, dest, day, price in rows:
        count, total = found.get((orig, dest, day), (0, 0))
        found[orig, dest, day] = (count + 1, total + price)
    return found


def text_for_copy(data: bytes, reading: ShardScan) -> tuple[bytes, tuple[str, ...]]:
    """Return what load would give to COPY, and the columns it names; the digest of the bytes must be the same."""
    file_format = detect_format(fetch_from(data), len(data), ROWS)
    digests = PartDigests(len(data))
    columns = file_format.header.columns
    source = Source(
        fetch_from(data),
        len(data),
        ROWS,
        ByteRange(0, len(data)),
        file_format.kind,
        file_format.gzipped,
        columns,
        reading.rows,
        reading.mixed_ends,
    )
    text = b"".join(csv_stream(source, digests))
    assert digests.finish() == reading.digests
    return text, columns


def copied_rows(connection: Any, data: bytes, reading: ShardScan) -> list[tuple[str, str, int, int]]:
    """Return the rows that PostgreSQL stores, days counted from 0001-01-01 as 1; nothing of them stays."""
    text, columns = text_for_copy(data, reading)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE copied (orig_code text, dest_code text, day date, price integer)")
        statement = f"COPY copied ({', '.join(columns)}) FROM STDIN WITH (FORMAT csv, ENCODING 'UTF8')"
        cursor.copy_expert(statement, io.BytesIO(text))
        cursor.execute("SELECT orig_code, dest_code, day - '0001-01-01'::date + 1, price FROM copied")
        rows: list[tuple[str, str, int, int]] = cursor.fetchall()
    connection.rollback()
    return rows
