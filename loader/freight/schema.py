"""The columns of a price, their rules, and the violations of a line.

This module checks one line at a time. `csv_columns` applies the same rules to millions of lines by checking each
distinct value once; a test compares both with each other and with PostgreSQL's COPY.
Every rule is at least as strict as COPY, so that COPY accepts every value that is valid here, with the same meaning:
`+5`, `1_000` and `٣` are numbers in Python, and ` 5` is one in PostgreSQL, but all are rejected here.
"""

import csv
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from ratesflow.database.reference import PORT_CODE
from ratesflow.loader.dataset import Column, Kind, RowSchema, UnknownCodes, Violation, violation
from ratesflow.loader.files.jsonlines import members, wrong_type
from ratesflow.loader.files.lines import EMPTY_LINE, unreadable, unsplittable

ROWS = RowSchema(
    (
        Column("orig_code", Kind.TEXT, "invalid_code"),
        Column("dest_code", Kind.TEXT, "invalid_code"),
        Column("day", Kind.DAY, "invalid_day"),
        Column("price", Kind.INTEGER, "invalid_price"),
    ),
    shortest_row=len("CNSHA,NLRTM,2021-01-31,5\n"),
    unknown_codes=UnknownCodes("unknown_port", counts="unknown_ports", others="more_unknown_ports"),
)
COLUMNS = ROWS.names
# The largest price: PostgreSQL's integer.
MAX_PRICE = 2_147_483_647

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_PRICE = re.compile(r"[0-9]+", re.ASCII)


@dataclass(frozen=True)
class Price:
    """One row; `day` counts from 0001-01-01 as 1, `price` is in whole US dollars."""

    orig_code: str
    dest_code: str
    day: int
    price: int


def parse_line(line: bytes, columns: Sequence[str], ports: Container[str]) -> Price | list[Violation]:
    """Return the row that `line` (without its LF or CRLF) holds, or all its violations."""
    if wrong := unreadable(line) or unsplittable(line):
        return [wrong]
    text = line.decode()
    fields = text.split(",") if '"' not in text else next(csv.reader([text]), [])
    if not text:
        return [EMPTY_LINE]
    if len(fields) != len(columns):
        shown = f"{len(fields)} fields instead of {len(columns)}"
        return [violation("", text, "wrong_field_count", f"{shown}; a row is {','.join(columns)}")]
    violations = [
        wrong for column, value in zip(columns, fields, strict=True) if (wrong := check_value(column, value, ports))
    ]
    if violations:
        return violations
    row = dict(zip(columns, fields, strict=True))
    return Price(row["orig_code"], row["dest_code"], parse_day(row["day"]), parse_price(row["price"]))


def parse_object(line: bytes, ports: Container[str]) -> Price | list[Violation]:
    """Return the row that a line of JSON holds, or all its violations."""
    row = members(line, ROWS)
    if isinstance(row, list):
        return row
    violations = [wrong for column in ROWS.columns if (wrong := _check_member(column, row[column.name], ports))]
    if violations:
        return violations
    return Price(row["orig_code"], row["dest_code"], parse_day(row["day"]), parse_price(row["price"]))


def _check_member(column: Column, value: Any, ports: Container[str]) -> Violation | None:
    return wrong_type(column, value) or check_value(column.name, value, ports)


def check_value(column: str, value: str, ports: Container[str]) -> Violation | None:
    """Return the violation of `value` in `column`, or None."""
    if not value:
        return violation(column, value, "missing_value", f"{column} is empty")
    if column == "day":
        return None if parse_day(value) else _wrong_day(value)
    if column == "price":
        return None if parse_price(value) else _wrong_price(value)
    if not PORT_CODE.fullmatch(value):
        return violation(column, value, "invalid_code", f"{column} must be a port's UN/LOCODE such as CNSHA")
    if value not in ports:
        reason = ROWS.unknown_codes.reason
        return violation(column, value, reason, f"there is no port {value}; load it with `reference load`")
    return None


def parse_day(value: str) -> int:
    """Return the number of a day written YYYY-MM-DD (0001-01-01 is 1), or 0 if it is not a valid day."""
    if not _DAY.fullmatch(value):
        return 0
    try:
        return date(int(value[:4]), int(value[5:7]), int(value[8:])).toordinal()
    except ValueError:
        return 0


def parse_price(value: str) -> int:
    """Return a price in whole US dollars, or 0 if `value` is not a valid price."""
    if not _PRICE.fullmatch(value):
        return 0
    digits = value.lstrip("0")
    # At most ten digits are parsed: Python is slow with a million digits.
    return number if 0 < len(digits) <= 10 and (number := int(digits)) <= MAX_PRICE else 0


def _wrong_day(value: str) -> Violation:
    if _DAY.fullmatch(value):
        return violation("day", value, "impossible_day", "there is no such day in the calendar")
    return violation("day", value, "invalid_day", "day must be written YYYY-MM-DD, such as 2021-01-31")


def _wrong_price(value: str) -> Violation:
    if _PRICE.fullmatch(value) and value.strip("0"):
        return violation("price", value, "price_too_large", f"price must be at most {MAX_PRICE:,}")
    if _PRICE.fullmatch(value) or re.fullmatch(r"-[0-9]+", value, re.ASCII):
        return violation("price", value, "price_not_positive", "price must be more than 0")
    return violation("price", value, "invalid_price", "price must be a whole number of US dollars in plain digits")
