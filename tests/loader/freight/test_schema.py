"""The rules of rows: the fast check, the plain check and PostgreSQL's COPY agree on the same bytes."""

import gzip
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ratesflow.loader.dataset import FileRejectedError
from ratesflow.loader.files.csv_header import Header, read_header
from ratesflow.loader.files.detect import detect_format
from ratesflow.loader.files.lines import whole_lines
from ratesflow.loader.freight.csv_columns import VectorizedValidator
from ratesflow.loader.freight.rows import Rows
from ratesflow.loader.freight.schema import COLUMNS, ROWS, Price, parse_day, parse_line, parse_price
from tests.fix_database import Database
from tests.loader.reading_files import PORTS, copied_rows, validated

codes = st.sampled_from(
    [*PORTS, *PORTS, *PORTS, "CNXXX", "cnsha", "", " CNSHA", "CNSHA ", "東京", '"CNSHA"', 'CN"SHA', "x,y"]
)
days = st.sampled_from(
    ["2021-01-31", "2021-01-01", "2024-02-29", "2021-02-29", "2021-1-1", "20210101", "0000-01-01", "9999-12-31", ""]
    + ["2021-01-31", "2021-01-01"] * 3
)
numbers = st.sampled_from(
    ["5", "005", "0", "-5", "+5", " 5", "5 ", "5.0", "1e3", "1_000", "٣", "2147483647", "2147483648", "0x10", "", '"5"']
    + ["99999999999999999999999", "12", "700"]
) | st.integers(1, 3_000_000_000).map(str)
lines = st.tuples(codes, codes, days, numbers).map(",".join) | st.sampled_from(
    ["", ",", ",,,", ",,,,", "CNSHA,NLRTM,2021-01-31", "CNSHA,NLRTM,2021-01-31,5,", '"CNSHA,NLRTM,2021-01-31,5', "\\."]
    + ['CNSHA,NLRTM,"2021-01-31","5"', "CNSHA,NLRTM,2021-01-31,5\r", "CNSHA\0,NLRTM,2021-01-31,5", "a\rb,c,d,e"]
)
raw_lines = lines.map(str.encode) | st.binary(max_size=40).map(lambda data: data.replace(b"\n", b""))
ends = st.sampled_from([b"\n", b"\r\n"])
# The lines of a file: all end alike or each as it likes, the last one has an end or none.
files = st.tuples(
    st.lists(raw_lines, min_size=1, max_size=12), ends.map(lambda end: [end] * 12) | st.lists(ends, min_size=12), ends
).map(lambda drawn: b"".join(map(b"".join, zip(drawn[0], [*drawn[1][: len(drawn[0]) - 1], drawn[2]], strict=True))))
files |= files.map(lambda data: data.removesuffix(b"\n").removesuffix(b"\r"))
good_lines = st.sampled_from(
    [b"CNSHA,NLRTM,2021-01-31,5", b'"CNSHA",USNYC,2024-02-29,"007"', b"NLRTM,CNSHA,2021-01-01,99"]
)
good_files = st.lists(st.tuples(good_lines, ends).map(b"".join), min_size=1, max_size=12).map(b"".join)
good_files |= good_files.map(lambda data: data.removesuffix(b"\n").removesuffix(b"\r"))
tails = st.lists(ends, max_size=5).map(b"".join)


def unfolded(good: Rows) -> list[tuple[Any, ...]]:
    """Return good rows with the ports' codes."""
    return [
        (PORTS[orig - 1], PORTS[dest - 1], day, price) for orig, dest, day, price in zip(*good.columns, strict=True)
    ]


def _check(data: bytes, columns: tuple[str, ...] = COLUMNS) -> tuple[list[tuple[Any, ...]], set[int], int]:
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    problems = {}
    good = VectorizedValidator(columns, PORTS).check(data, lines, problems.__setitem__)
    rows = unfolded(good)
    assert len(rows) + len(problems) == lines
    return rows, set(problems), lines


@given(files)
@example(b"CNSHA,NLRTM,2021-01-31,5\r")
@settings(max_examples=600, deadline=None)
def test_fast_and_plain_reading_agree(data: bytes) -> None:
    """Looking at distinct values finds the same rows and the same bad lines as reading line by line."""
    if not data:
        return
    rows, problems, _ = _check(data)
    checker, plain_problems = VectorizedValidator(COLUMNS, PORTS), {}
    plain = checker.line_by_line(data, plain_problems.__setitem__, checker._read_line)
    assert rows == unfolded(plain)
    assert problems == set(plain_problems)


@given(data=files | good_files, tail=tails, header_end=ends)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_accepted_is_copied_with_the_same_values(
    connection: Any, data: bytes, tail: bytes, header_end: bytes
) -> None:
    """COPY takes every file without a bad line, and stores the very values that were counted."""
    text = ",".join(COLUMNS).encode() + header_end + data + tail
    report, reading = validated(text)
    if report.accepted:
        lines = [line.removesuffix(b"\r") for line in data.split(b"\n")]
        while not lines[-1]:
            lines.pop()
        parsed = [parse_line(line, COLUMNS, PORTS) for line in lines]
        assert copied_rows(connection, text, reading) == [
            (row.orig_code, row.dest_code, row.day, row.price) for row in parsed
        ]


@given(st.permutations(COLUMNS), st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_columns_in_any_order(columns: list[str], count: int) -> None:
    """The order of the columns is the header's, and changes nothing else."""
    values = {"orig_code": "CNSHA", "dest_code": "NLRTM", "day": "2021-01-31", "price": "7"}
    data = (",".join(values[name] for name in columns) + "\n").encode() * count
    rows, problems, _ = _check(data, tuple(columns))
    assert rows == [("CNSHA", "NLRTM", 737821, 7)] * count
    assert not problems


@given(st.lists(st.binary(max_size=30).map(lambda data: data.replace(b"\n", b"x")), max_size=30), st.integers(1, 50))
def test_pieces_end_at_line_ends_however_the_parts_are_cut(texts: list[bytes], size: int) -> None:
    """Joined, the pieces are the file; each has the line number of its first line."""
    data = b"\n".join(texts)
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    pieces = list(whole_lines(parts, first_line=2))
    assert b"".join(piece for _, _, piece in pieces) == data
    line = 2
    for first, lines, piece in pieces:
        assert (first, lines) == (line, piece.count(b"\n") + (not piece.endswith(b"\n")))
        line += lines
    assert all(piece.endswith(b"\n") for _, _, piece in pieces[:-1])


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        (b"CNXXX,NLRTM,2021-01-31,5", "orig_code", "unknown_port"),
        (b"CNSHA,nlrtm,2021-01-31,5", "dest_code", "invalid_code"),
        (b"CNSHA,NLRTM,2021-02-29,5", "day", "impossible_day"),
        (b"CNSHA,NLRTM,31.01.2021,5", "day", "invalid_day"),
        (b"CNSHA,NLRTM,2021-01-31,0", "price", "price_not_positive"),
        (b"CNSHA,NLRTM,2021-01-31,-5", "price", "price_not_positive"),
        (b"CNSHA,NLRTM,2021-01-31,5.50", "price", "invalid_price"),
        (b"CNSHA,NLRTM,2021-01-31,1_000", "price", "invalid_price"),
        (b"CNSHA,NLRTM,2021-01-31,+5", "price", "invalid_price"),
        ("CNSHA,NLRTM,2021-01-31,٣".encode(), "price", "invalid_price"),
        (b"CNSHA,NLRTM,2021-01-31,2147483648", "price", "price_too_large"),
        (b"CNSHA,NLRTM,2021-01-31,", "price", "missing_value"),
        (b"CNSHA,NLRTM,2021-01-31", "", "wrong_field_count"),
        (b"CNSHA,NLRTM,2021-01-31,5,6", "", "wrong_field_count"),
        (b"", "", "wrong_field_count"),
        (b"CNSHA,NLRTM,2021-01-31,\xff", "", "invalid_utf8"),
        (b"CNSHA,NLRTM,2021-01-31,5\0", "", "nul_byte"),
        (b'CNSHA,NLRTM,2021-01-31,"5', "", "open_quote"),
        (b"x" * 70_000, "", "line_too_long"),
    ],
)
def test_each_fault_has_its_column_and_reason(line: bytes, column: str, reason: str) -> None:
    """Each violation has its column and reason."""
    (problem,) = parse_line(line, COLUMNS, PORTS)
    assert (problem.column, problem.reason) == (column, reason)
    assert problem.message
    assert len(problem.value) <= 101


def test_a_line_with_two_violations_reports_both() -> None:
    """Every bad value of a line is reported, not only the first."""
    problems = parse_line(b"CNXXX,NLRTM,2021-13-01,0", COLUMNS, PORTS)
    assert [problem.column for problem in problems] == ["orig_code", "day", "price"]


def test_limits_of_days_and_prices() -> None:
    """The first and last day and price that PostgreSQL and Python both know are accepted."""
    assert parse_day("0001-01-01") == 1
    assert parse_day("9999-12-31") == 3652059
    assert parse_price("2147483647") == 2147483647
    assert parse_price("0000000000000000005") == 5
    assert isinstance(parse_line(b"CNSHA,NLRTM,0001-01-01,1", COLUMNS, PORTS), Price)


@pytest.mark.parametrize(
    ("start", "reason", "words"),
    [
        (b"", "empty_file", "empty"),
        (b"\x1f\x8b\x08\0", "truncated_gzip", "gzip file is truncated"),
        (gzip.compress(b"", mtime=0), "empty_file", "contains no data"),
        (gzip.compress(gzip.compress(b"x", mtime=0), mtime=0), "unknown_format", "contains a gzip file"),
        (gzip.compress(b"PK\x03\x04rest", mtime=0), "unknown_format", "workbook"),
        (b"PK\x03\x04rest", "unknown_format", "workbook"),
        (b"[{}]", "unknown_format", "one object per line"),
        (b"<html>", "unknown_format", "HTML"),
        (b"PARErest", "unknown_format", "encrypted"),
        ("orig_code".encode("utf-16"), "unknown_format", "UTF-16"),
        (b"orig_code,dest_code,day\n", "wrong_header", "missing 'price'"),
        (b"orig_code,dest_code,day,price,price\n", "wrong_header", "twice 'price'"),
        (b"orig_code,dest_code,day,price,note\n", "wrong_header", "unknown 'note'"),
        (b"CNSHA,NLRTM,2021-01-31,5\n", "wrong_header", "missing"),
        (b"x" * 70_000, "line_too_long", "longer"),
        (b"\xff\xfd,dest_code,day,price\n", "not_csv", "UTF-8"),
    ],
)
def test_the_message_for_another_kind_of_file_names_it(start: bytes, reason: str, words: str) -> None:
    """The message names the kind of a wrong file, or what is wrong with its header."""
    with pytest.raises(FileRejectedError, match=words) as rejected:
        detect_format(lambda first, last: iter([start[first:last]]), len(start), ROWS)
    assert (rejected.value.line, rejected.value.reason) == (1, reason)


def test_header_with_bom_quotes_and_crlf() -> None:
    """A header as Excel writes it is read like a plain one."""
    header = read_header(b'\xef\xbb\xbf"day","price","orig_code","dest_code"\r\n2021', COLUMNS)
    assert header == Header(("day", "price", "orig_code", "dest_code"), 42)


def test_copy_is_tested_against_both_versions(database: Database) -> None:
    """The test servers have the versions in their names."""
    assert database.one("SELECT current_setting('server_version_num')::integer / 10000") == database.server.version
