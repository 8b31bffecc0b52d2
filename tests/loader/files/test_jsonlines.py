"""JSON Lines: read as a whole or line by line, and copied by PostgreSQL, the same bytes are the same rows."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ratesflow.loader.files.jsonlines import as_csv, columns_of
from ratesflow.loader.freight.schema import COLUMNS, ROWS, Price, parse_object
from tests.loader.reading_files import PORTS, copied_rows, counted, recounted, validated

GOOD = {"orig_code": '"CNSHA"', "dest_code": '"NLRTM"', "day": '"2021-01-31"', "price": "5"}
strings = st.sampled_from(['"CNXXX"', '"cnsha"', '""', '" CNSHA"', '"CN\\u0053HA"', '"\\ud800"', '"\\u0000"', '"東京"'])
odd_values = (
    strings
    | st.sampled_from(["5.0", "5e2", "05", "-5", "-0", "0", "NaN", "Infinity", "true", "null", "1_000", "+5", "٣"])
    | st.sampled_from(["2147483647", "2147483648", "9" * 400, '"5"', "[5]", "{}", '"2021-02-29"', '"20210131"', ""])
    | st.integers(-5, 3_000_000_000).map(str)
)
good_values = {
    "orig_code": st.sampled_from([f'"{port}"' for port in PORTS] + ['"\\u0043NSHA"']),
    "dest_code": st.sampled_from([f'"{port}"' for port in PORTS]),
    "day": st.sampled_from(['"2021-01-31"', '"2024-02-29"', '"0001-01-01"', '"9999-12-31"', '"2021\\u002d01-31"']),
    "price": st.integers(1, 2_147_483_647).map(str),
}


@st.composite
def objects(draw: Any, keys: tuple[str, ...], space: str, odd: bool) -> str:
    """A line with mostly good values, the keys in one order; sometimes odd in every way there is."""
    row = {key: draw(good_values[key]) for key in keys}
    members = [f'"{key}":{space}{value}' for key, value in row.items()]
    if odd and draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, 3))
        members[at] = draw(
            odd_values.map(lambda value: f'"{keys[at]}":{space}{value}')
            | st.sampled_from([members[0], '"note": 1', "", members[at] + " ", members[at].replace('"', "'")])
        )
        draw(st.sampled_from([members.reverse, members.pop, lambda: members.append(members[0]), lambda: None]))()
    return "{" + f",{space}".join(members) + "}"


@st.composite
def files(draw: Any, odd: bool = True) -> bytes:
    """A file of such lines."""
    keys = tuple(draw(st.permutations(COLUMNS)))
    space = draw(st.sampled_from(["", " "]))
    lines = draw(st.lists(objects(keys, space, odd).map(str.encode), min_size=1, max_size=8))
    if odd and draw(st.integers(0, 4)) == 0:
        lines.append(draw(st.binary(max_size=30).map(lambda data: data.replace(b"\n", b""))))
    ends = st.sampled_from([b"\n", b"\r\n"])
    one_end = draw(ends | st.none())  # None: each line as it likes
    text = b"".join(line + (one_end or draw(ends)) for line in lines)
    return text + draw(st.lists(ends, max_size=3).map(b"".join)) if draw(st.booleans()) else text.rstrip(b"\r\n")


@given(files())
@settings(max_examples=1000, deadline=None)
def test_whole_pieces_and_single_lines_agree(data: bytes) -> None:
    """Turning a piece into CSV finds the same rows and the same problems as Python's JSON parser, line by line."""
    if not data.startswith(b"{"):
        return
    report, reading = validated(data)
    lines = data.split(b"\n")
    while not lines[-1].removesuffix(b"\r") and (lines[-1:] == [b""] or data.endswith(b"\n")):
        lines.pop()
    plain = [parse_object(line, PORTS) for line in lines]
    rows = [row for row in plain if isinstance(row, Price)]
    wrong = {at: row for at, row in enumerate(plain, start=1) if not isinstance(row, Price)}
    assert (report.rows, report.rejected_rows) == (len(plain), len(wrong))
    assert counted(reading) == recounted((row.orig_code, row.dest_code, row.day, row.price) for row in rows)
    listed = [(error["line"], error["column"], error["reason"], error["value"]) for error in report.errors]
    assert listed == [(at, p.column, p.reason, p.value) for at, found in wrong.items() for p in found][:100]


@given(data=files(odd=False) | files())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_accepted_is_copied_with_the_same_values(connection: Any, data: bytes) -> None:
    """COPY takes every file that was accepted, and stores the very values that were counted."""
    report, reading = validated(data)
    if report.accepted:
        rows = copied_rows(connection, data, reading)
        assert len(rows) == report.rows
        assert recounted(rows) == counted(reading)


@pytest.mark.parametrize("options", [{}, {"separators": (",", ":")}, {"indent": None, "sort_keys": True}])
def test_what_programs_write_is_read_as_a_whole(options: dict[str, Any]) -> None:
    """Lines as json.dumps writes them, in any of its styles, need no reading one by one."""
    row = {"price": 7, "orig_code": "CNSHA", "dest_code": "NLRTM", "day": "2021-01-31"}
    line = json.dumps(row, **options).encode()
    columns = columns_of(line, ROWS)
    for lines in ((line + b"\n") * 3, (line + b"\r\n") * 3, line + b"\r\n" + line + b"\n" + line):
        text = as_csv(lines, 3, columns, ROWS)
        assert text == (",".join(str(row[column]) for column in columns) + "\n").encode() * 3


def test_a_broken_line_has_one_number_and_a_column() -> None:
    """The message has the column in the line; the line number is that of the file."""
    report, _ = validated(line_of() + b"\n" + b'{"price":5')
    assert (report.errors[0]["line"], report.summary) == (
        2,
        "1 of 2 rows rejected; the first: line 2: not JSON at column 11: Expecting ',' delimiter; "
        "each line must be one object",
    )


def line_of(**changes: str) -> bytes:
    """Return a good line with other values, as they stand in the file."""
    return ("{" + ", ".join(f'"{key}": {value}' for key, value in {**GOOD, **changes}.items()) + "}").encode()


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        (line_of(price="5.0"), "price", "invalid_price"),
        (line_of(price="5e2"), "price", "invalid_price"),
        (line_of(price='"5"'), "price", "invalid_price"),
        (line_of(price="true"), "price", "invalid_price"),
        (line_of(price="null"), "price", "missing_value"),
        (line_of(price="-0"), "price", "price_not_positive"),
        (line_of(price="9" * 5000), "price", "price_too_large"),
        (line_of(price="NaN"), "", "invalid_json"),
        (line_of(price="05"), "", "invalid_json"),
        (line_of(price="٣"), "", "invalid_json"),
        (line_of(day="20210131"), "day", "invalid_day"),
        (line_of(day='"2021-02-30"'), "day", "impossible_day"),
        (line_of(orig_code='["CNSHA"]'), "orig_code", "invalid_code"),
        (line_of(orig_code='"CNSH\\ud800"'), "orig_code", "invalid_code"),
        (line_of(orig_code='"\\u0000"'), "orig_code", "invalid_code"),
        (line_of(note="1"), "", "unknown_key"),
        (line_of().replace(b"}", b', "price": 5}'), "price", "duplicate_key"),
        (line_of().replace(b', "price": 5', b""), "price", "missing_value"),
        (line_of() + line_of(), "", "invalid_json"),
        (line_of() + b",", "", "invalid_json"),
        (b'["CNSHA", "NLRTM", "2021-01-31", 5]', "", "invalid_json"),
        (b"[" * 60_000, "", "invalid_json"),
        (b"5", "", "invalid_json"),
        (b"", "", "invalid_json"),
        (b"{}\0", "", "nul_byte"),
        (b'{"orig_code": "\xff"}', "", "invalid_utf8"),
        (b" " * 70_000 + line_of(), "", "line_too_long"),
    ],
)
def test_each_fault_has_its_column_and_reason(line: bytes, column: str, reason: str) -> None:
    """Each violation has its column and reason, in printable characters."""
    problem, *rest = parse_object(line, PORTS)
    assert not rest
    assert (problem.column, problem.reason) == (column, reason)
    assert problem.message
    assert len(problem.value) <= 700
    assert (problem.value + problem.message).isprintable()
