"""Parquet: which columns are accepted, what is wrong with a value, and that COPY stores what was counted."""

import io
import random
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ratesflow.loader.files.parquet import RangedFile
from ratesflow.loader.freight.schema import COLUMNS, Price, parse_line
from tests.loader.reading_files import PORTS, copied_rows, counted, fetch_from, recounted, validated

TEXTS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
DATES = [pa.date32(), pa.date64(), *(pa.timestamp(unit) for unit in ("s", "ms", "us", "ns"))]
WHOLES = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]


def table(count: int = 3, **columns: pa.Array) -> pa.Table:
    """Return a table of good rows, with other columns in place of some, or beside them."""
    good = {
        "orig_code": pa.array(["CNSHA"] * count),
        "dest_code": pa.array(["NLRTM"] * count),
        "day": pa.array([date(2021, 1, 31)] * count),
        "price": pa.array([5] * count),
    }
    return pa.table({**good, **columns})


def file_of(found: pa.Table, **options: Any) -> bytes:
    """Return a table as Parquet."""
    sink = io.BytesIO()
    pa.parquet.write_table(found, sink, **options)
    return sink.getvalue()


@st.composite
def tables(draw: Any) -> pa.Table:
    """A table of any accepted types, with mostly good values."""
    count = draw(st.integers(1, 8))
    code = st.sampled_from([*PORTS * 4, "CNXXX", "cnsha", "", "東京", 'CN"SHA', "CN,HA", "CNSHA\n", None])
    day_type = draw(st.sampled_from([*DATES, *TEXTS]))
    if day_type in TEXTS:
        day = st.sampled_from([*["2021-01-31", "0001-01-01", "9999-12-31"] * 3, "2021-02-29", "20210131", "", None])
    elif day_type == pa.timestamp("ns"):
        day = st.sampled_from([*[datetime(2021, 1, 31), datetime(1969, 12, 31)] * 3, datetime(2021, 1, 31, 12), None])
    else:
        day = st.datetimes().map(lambda at: at.replace(hour=0, minute=0, second=0, microsecond=0)) | st.none()
        day = day if pa.types.is_timestamp(day_type) else st.dates() | st.none()
    whole = draw(st.sampled_from(WHOLES))
    most = 2 ** (whole.bit_width - (not str(whole).startswith("u"))) - 1
    price = st.integers(1, min(most, 2**31 - 1)) | st.integers(0 if str(whole).startswith("u") else -most, most)
    columns = {}
    for name in ("orig_code", "dest_code"):
        values = draw(st.lists(code, min_size=count, max_size=count))
        columns[name] = pa.array(values, pa.string()).cast(draw(st.sampled_from(TEXTS)))
    columns["day"] = pa.array(draw(st.lists(day, min_size=count, max_size=count)), day_type)
    columns["price"] = pa.array(draw(st.lists(price | price | st.none(), min_size=count, max_size=count)), whole)
    return pa.table(columns).select(draw(st.permutations(COLUMNS)))


def plainly(found: pa.Table) -> tuple[list[Price], list[int]]:
    """Return the good rows of a table and the numbers of the bad ones, by the plain contract."""
    good, bad = [], []
    for number, row in enumerate(found.to_pylist(), start=1):
        day = row["day"]
        if isinstance(day, datetime) and (day.hour or day.minute):
            day = "noon"
        values = [row["orig_code"], row["dest_code"], str(day)[:10], row["price"]]
        quoted = ",".join("" if value is None else '"' + str(value).replace('"', '""') + '"' for value in values)
        parsed = parse_line(quoted.replace("\n", " ").encode(), COLUMNS, PORTS)
        if isinstance(parsed, Price):
            good.append(parsed)
        else:
            bad.append(number)
    return good, bad


@given(data=st.tuples(tables(), st.sampled_from(["snappy", "gzip", "zstd", "none"]), st.integers(1, 5), st.booleans()))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_columns_are_read_as_the_contract_says_and_copied_with_the_same_values(connection: Any, data: Any) -> None:
    """Whatever the types, packing and row groups: rows are good and bad by the contract, and COPY stores them."""
    found, compression, group, dictionary = data
    packed = file_of(found, compression=compression, row_group_size=group, use_dictionary=dictionary)
    report, reading = validated(packed)
    good, bad = plainly(found)
    assert sorted({error["line"] for error in report.errors}) == bad
    assert counted(reading) == recounted((row.orig_code, row.dest_code, row.day, row.price) for row in good)
    if report.accepted:
        assert recounted(copied_rows(connection, packed, reading)) == counted(reading)


@pytest.mark.parametrize(
    ("found", "reason", "words"),
    [
        (table().drop_columns(["price"]), "wrong_header", "the file has orig_code, dest_code, day"),
        (table(note=pa.array([1, 2, 3])), "wrong_header", "note"),
        (table().append_column("price", pa.array([1, 2, 3])), "wrong_header", "price, price"),
        (table(price=pa.array([5.0] * 3)), "wrong_type", "double; it must be an integer"),
        (table(price=pa.array(["5"] * 3)), "wrong_type", "string; it must be an integer"),
        (table(price=pa.array([5] * 3).cast(pa.decimal128(19, 0))), "wrong_type", "decimal"),
        (table(price=pa.array([True] * 3)), "wrong_type", "bool"),
        (table(orig_code=pa.array([b"CNSHA"] * 3)), "wrong_type", "binary; it must be a string"),
        (table(orig_code=pa.array([["CNSHA"]] * 3)), "wrong_type", "list"),
        (table(price=pa.array([{"price": 5}] * 3)), "wrong_type", "struct"),
        (table(day=pa.array([datetime(2021, 1, 31)] * 3, pa.timestamp("us", "UTC"))), "wrong_type", "UTC"),
        (table(day=pa.array([20210131] * 3)), "wrong_type", "int64; it must be a date"),
        (table().slice(0, 0), "no_rows", "no row"),
    ],
)
def test_a_table_with_wrong_columns_is_rejected(found: pa.Table, reason: str, words: str) -> None:
    """A file with missing columns, extra columns or columns of a wrong type is rejected."""
    report, _ = validated(file_of(found))
    (error,) = report.errors
    assert (error["line"], error["reason"]) == (1, reason)
    assert words in error["message"]


@pytest.mark.parametrize(
    ("changes", "column", "reason", "value"),
    [
        ({"orig_code": pa.array(["CNSHA", None, "CNSHA"])}, "orig_code", "missing_value", "null"),
        ({"dest_code": pa.array(["CNSHA", "CN\0HA", "CNSHA"])}, "dest_code", "invalid_code", "CN\\x00HA"),
        ({"dest_code": pa.array(["CNSHA", "x" * 5000, "CNSHA"])}, "dest_code", "invalid_code", "x" * 100 + "…"),
        ({"day": pa.array(["2021-01-31", "2021-02-30", "2021-01-31"])}, "day", "impossible_day", "2021-02-30"),
        ({"day": pa.array([1, 2932897, 1], pa.date32())}, "day", "impossible_day", "10000-01-01"),
        ({"day": pa.array([1, -719163, 1], pa.date32())}, "day", "impossible_day", "0000-12-31"),
        ({"day": pa.array([0, 3_600, 0], pa.timestamp("s"))}, "day", "invalid_day", "1970-01-01T01:00:00.000"),
        ({"day": pa.array([0, None, 0], pa.timestamp("ms"))}, "day", "missing_value", "null"),
        ({"price": pa.array([1, 2**64 - 1, 1], pa.uint64())}, "price", "price_too_large", str(2**64 - 1)),
        ({"price": pa.array([1, -1, 1], pa.int8())}, "price", "price_not_positive", "-1"),
        ({"price": pa.array([1, None, 1])}, "price", "missing_value", "null"),
    ],
)
def test_each_bad_value_is_reported_with_its_row(
    changes: dict[str, pa.Array], column: str, reason: str, value: str
) -> None:
    """A bad value is reported with its row number, column and reason."""
    report, _ = validated(file_of(table(**changes)))
    (error,) = report.errors
    assert (error["line"], error["column"], error["reason"]) == (2, column, reason)
    assert error["value"] == value
    assert report.rows == 3


def test_text_that_is_no_utf8_is_a_bad_code() -> None:
    """Rows whose text is not UTF-8 are rejected."""
    found = pa.array([b"CNSHA", b"\xff\xfe\xfd", b"NLRTM"]).view(pa.string())
    report, _ = validated(file_of(table(orig_code=found)))
    assert [(error["line"], error["reason"]) for error in report.errors] == [(2, "invalid_code")]


def test_row_groups_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row group that would need too much memory is rejected before it is read, with the number of its first row."""
    data = file_of(table(1000, price=pa.array(range(1, 1001))), row_group_size=600)
    assert validated(data)[0].accepted
    monkeypatch.setenv("RATESFLOW_MAX_ROW_GROUP_BYTES", "1000")
    (error,) = validated(data)[0].errors
    assert (error["line"], error["reason"]) == (1, "row_group_too_large")


def test_a_bomb_of_rows_is_rejected_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal rows take no space in Parquet; a file with too many is rejected by its footer."""
    monkeypatch.setattr("ratesflow.loader.files.limits.RATIO_FREE_BYTES", 1_000_000)
    (error,) = validated(file_of(table(500_000)))[0].errors
    assert (error["line"], error["reason"]) == (1, "unpacks_too_large")


def test_a_damaged_file_is_rejected_or_read_and_never_fails_validation() -> None:
    """Bytes that were changed anywhere end in a report."""
    whole = file_of(table(50, price=pa.array(range(1, 51))), row_group_size=20)
    # Always the same changes: pyarrow may end the process where it meets one that it does not expect.
    for seed in range(400):
        choose, found = random.Random(seed), bytearray(whole)
        for _ in range(choose.randint(1, 3)):
            found[choose.randrange(4, len(found))] = choose.randrange(256)
        report, _ = validated(bytes(found))
        assert report.accepted or report.errors


@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 220), st.integers(-1, 90)), max_size=20))
def test_a_ranged_file_is_the_file(data: bytes, reads: list[tuple[int, int]]) -> None:
    """Reads at any offset, in any order, return the bytes of the file."""
    file, like = RangedFile(fetch_from(data, 7), len(data)), io.BytesIO(data)
    for at, size in reads:
        assert file.seek(at) == like.seek(at)
        assert file.read(size) == like.read(size)
        assert file.tell() == like.tell() or at >= len(data)
