"""Mixed line ends and empty lines at the end, for any boundaries of shards and blocks: rows, line numbers, COPY."""

import gzip
import io
import time
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ratesflow.loader.batches import byte_ranges, digest
from ratesflow.loader.batches.byte_ranges import shard_range
from ratesflow.loader.batches.digest import PartDigests, batch_digest
from ratesflow.loader.files import report
from ratesflow.loader.files.csv_stream import Source, csv_stream
from ratesflow.loader.files.detect import detect_format
from ratesflow.loader.files.read_shard import ShardScan, read_shard
from ratesflow.loader.files.report import ReportWriter, ShardReport, merged
from ratesflow.loader.freight.schema import COLUMNS, ROWS, Price, parse_line, parse_object
from ratesflow.loader.freight.validator import PriceValidator
from tests.loader.reading_files import PORTS, fetch_from, validated

HEADER = b"orig_code,dest_code,day,price"
ROW = b"CNSHA,NLRTM,2021-01-31,5"
OBJECT = b'{"orig_code":"CNSHA","dest_code":"NLRTM","day":"2021-01-31","price":5}'
ends = st.sampled_from([b"\n", b"\r\n"])
runs = st.integers(0, 60) | st.just(0)


@st.composite
def files(draw: Any) -> tuple[bytes, bool]:
    """A file of few lines, any of which may be empty or wrong, and of many empty ones at its end; and is it JSON."""
    objects = draw(st.booleans())
    good, bad = (OBJECT, b"{}") if objects else (ROW, b"CNSHA,NLRTM")
    lines = draw(st.lists(st.sampled_from([good, good, good, bad, b"", b"\r"]) | st.just(good), max_size=8))
    lines = [OBJECT if objects else HEADER, *lines]
    if draw(st.booleans()):  # empty lines in the middle, more than a shard has
        lines[1:1] = [good, *[b""] * draw(runs), good]
    text = b"".join(line + draw(ends) for line in lines)
    if draw(st.booleans()):
        return text.removesuffix(b"\n").removesuffix(b"\r"), objects
    return text + draw(ends) * draw(runs) + draw(ends) * draw(runs), objects


def expected(data: bytes, objects: bool) -> tuple[list[Price], list[int]]:
    """Return the rows, and the numbers of the lines that are wrong, read in the plainest way."""
    *lines, last = data.split(b"\n")
    ended = len(lines)
    while not last and lines[-1] in (b"", b"\r"):
        lines.pop()
    rows, wrong = [], []
    for number, line in enumerate([*lines, last] if last else lines, start=1):
        if number == 1 and not objects:
            continue
        text = line.removesuffix(b"\r") if number <= ended else line
        row = parse_object(text, PORTS) if objects else parse_line(text, COLUMNS, PORTS)
        if isinstance(row, Price):
            rows.append(row)
        else:
            wrong.append(number)
    return rows, wrong


def read(data: bytes, shards: int, block: int) -> list[tuple[ShardReport, ShardScan]]:
    """Validate a file in some number of shards."""
    found = []
    for shard in range(shards):
        with ReportWriter(ROWS) as writer:
            reading = read_shard(fetch_from(data, block), len(data), PriceValidator(PORTS), writer, shard, shards)
            found.append((writer.finish(), reading))
    return found


def copied_by(connection: Any, data: bytes, block: int, readings: list[ShardScan]) -> list[tuple[Any, ...]]:
    """Return what PostgreSQL stores of shards that were validated, in the order of the contract's columns."""
    file_format = detect_format(fetch_from(data), len(data), ROWS)
    columns = ", ".join(file_format.header.columns)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE copied (orig_code text, dest_code text, day date, price integer)")
        for shard, reading in enumerate(readings):
            span = shard_range(len(data), shard, len(readings))
            source = Source(
                fetch_from(data, block),
                len(data),
                ROWS,
                span,
                file_format.kind,
                file_format.gzipped,
                file_format.header.columns,
                reading.rows,
                reading.mixed_ends,
            )
            digests = PartDigests(span.stop - span.start)
            text = b"".join(csv_stream(source, digests))
            assert digests.finish() == reading.digests
            cursor.copy_expert(f"COPY copied ({columns}) FROM STDIN WITH (FORMAT csv)", io.BytesIO(text))
        cursor.execute("SELECT orig_code, dest_code, day - '0001-01-01'::date + 1, price FROM copied")
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    connection.rollback()
    return rows


@given(file=files(), shards=st.integers(1, 6), part=st.integers(8, 90), block=st.integers(1, 70), packed=st.booleans())
@example(file=(HEADER + b"\n" + ROW + b"\r\n" + ROW + b"\n" * 99, False), shards=4, part=40, block=7, packed=False)
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_and_line_numbers_are_those_of_a_plain_reading_and_copy_takes_them(
    connection: Any, file: tuple[bytes, bool], shards: int, part: int, block: int, packed: bool
) -> None:
    """Empty lines are violations before a row and skipped at the end, for any shards, blocks and formats."""
    data, objects = file
    rows, wrong = expected(data, objects)
    if packed:
        data = gzip.compress(data, mtime=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(byte_ranges.shard_range, "__defaults__", (part,))
        patch.setattr(digest.PartDigests.__init__, "__defaults__", (part,))
        found = read(data, shards, block)
        combined = merged([one for one, _ in found], ROWS)
        if combined.accepted:
            stored = copied_by(connection, data, block, [reading for _, reading in found])
            assert stored == [(row.orig_code, row.dest_code, row.day, row.price) for row in rows]
    assert combined.accepted == (bool(rows) and not wrong)
    if rows or wrong:
        assert (combined.rows, combined.rejected_rows) == (len(rows) + len(wrong), len(wrong))
        assert [error["line"] for error in combined.errors if error["column"] in ("", "orig_code")] == wrong
    assert all(error["message"] for error in combined.errors)


def test_the_digest_is_that_of_the_bytes_that_were_sent() -> None:
    """Line ends and empty lines that do not matter to the rows make another digest all the same."""
    plain, other = HEADER + b"\n" + ROW + b"\n", HEADER + b"\n" + ROW + b"\r\n\n"
    digests = [batch_digest(validated(data)[1].digests) for data in (plain, other)]
    assert digests[0] != digests[1]


@pytest.mark.parametrize("rows_follow", [False, True])
def test_millions_of_empty_lines_in_a_small_file_take_no_memory_and_little_time(rows_follow: bool) -> None:
    """At the end they are skipped; before a row they are counted, and listed up to the limit of the list."""
    count = 42_000_000
    packer = zlib.compressobj(9, wbits=31)
    lines = packer.compress(HEADER + b"\n" + ROW + b"\n") + b"".join(
        packer.compress(b"\n" * 1_000_000) for _ in range(count // 1_000_000)
    )
    data = lines + packer.compress(ROW if rows_follow else b"") + packer.flush()
    assert len(data) < 50_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "LISTED_ERRORS", 1000)
        tracemalloc.start()
        began = time.process_time()
        found, _ = validated(data)
        took = time.process_time() - began
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (found.accepted, found.rows, found.rejected_rows) == (
        (False, count + 2, count) if rows_follow else (True, 1, 0)
    )
    assert found.listed_errors == (1000 if rows_follow else 0)
    assert most < 20_000_000
    assert took < 20  # one after the other they took longer than a minute
