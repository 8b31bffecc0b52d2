"""The contract of a row of prices, and what is wrong with a line that breaks it.

This is the plain form, one line at a time. `csv_columns` says the same of millions of lines by looking at
each distinct value once; a test holds the two against one another, and both against PostgreSQL's COPY.
Every rule is at least as strict as COPY, so that what is accepted here is accepted there, with the same
value: `+5`, `1_000` and `٣` are numbers to Python, and ` 5` is one to PostgreSQL, but none is to us.
"""

import csv
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import date

COLUMNS = ("orig_code", "dest_code", "day", "price")
# The largest price: PostgreSQL's integer.
MAX_PRICE = 2_147_483_647
# Longest line, in bytes: four columns need 35. It bounds what a file without line ends can cost.
MAX_LINE_BYTES = 65_536
# The reason of values that have the form of a port's code but are none.
UNKNOWN_PORT = "unknown_port"
# Characters of a value that a report repeats.
SHOWN = 100

_CODE = re.compile(r"[A-Z]{2}[A-Z2-9]{3}", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_PRICE = re.compile(r"[0-9]+", re.ASCII)


@dataclass(frozen=True)
class Violation:
    """One thing that is wrong with one line: which column, its value, a reason to count by, and the words."""

    column: str
    value: str
    reason: str
    message: str


# Where rows follow it: at the end of a file empty lines are passed over.
EMPTY_LINE = Violation("", "", "wrong_field_count", "an empty line; they may stand at the end of the file only")


class FileRejectedError(Exception):
    """The whole file is refused, at `line`, for a `reason` to count by; the rest of it is not looked at.

    Line 0 stands for the one that is being read.
    """

    def __init__(self, line: int, reason: str, message: str, value: str = "") -> None:
        super().__init__(message)
        self.line, self.reason, self.value = line, reason, value


@dataclass(frozen=True)
class Price:
    """One row; `day` counts from 0001-01-01 as 1, `price` is in whole US dollars."""

    orig_code: str
    dest_code: str
    day: int
    price: int


def parse_line(line: bytes, columns: Sequence[str], ports: Container[str]) -> Price | list[Violation]:
    """Return the row that `line` (without its LF or CRLF) holds, or everything that is wrong with it."""
    if problem := unreadable(line) or _unsplittable(line):
        return [problem]
    text = line.decode()
    fields = text.split(",") if '"' not in text else next(csv.reader([text]), [])
    if not text:
        return [EMPTY_LINE]
    if len(fields) != len(columns):
        shown = f"{len(fields)} fields instead of {len(columns)}"
        return [fault("", text, "wrong_field_count", f"{shown}; a row is {','.join(columns)}")]
    problems = [
        problem for column, value in zip(columns, fields, strict=True) if (problem := check_value(column, value, ports))
    ]
    if problems:
        return problems
    row = dict(zip(columns, fields, strict=True))
    return Price(row["orig_code"], row["dest_code"], parse_day(row["day"]), parse_price(row["price"]))


def unreadable(line: bytes) -> Violation | None:
    """Return what keeps a line from being text that PostgreSQL can store, or None."""
    shown = line[: SHOWN + 1].decode(errors="replace")
    if len(line) > MAX_LINE_BYTES:
        return fault("", shown, "line_too_long", f"{len(line):,} bytes in one line; at most {MAX_LINE_BYTES:,}")
    if b"\0" in line:
        return fault("", shown, "nul_byte", f"a NUL byte at byte {line.index(0) + 1} of the line")
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return fault("", shown, "invalid_utf8", f"not UTF-8 at byte {error.start + 1} of the line")
    return None


def _unsplittable(line: bytes) -> Violation | None:
    shown = line[: SHOWN + 1].decode(errors="replace")
    if b"\r" in line:
        return fault("", shown, "line_end", "a carriage return inside a line; lines end in LF or CRLF")
    if line.count(b'"') % 2:
        return fault("", shown, "open_quote", "a quote that is not closed on its line; a row is one line")
    return None


def check_value(column: str, value: str, ports: Container[str]) -> Violation | None:
    """Return what is wrong with `value` in `column`, or None."""
    if not value:
        return fault(column, value, "missing_value", f"{column} is empty")
    if column == "day":
        return None if parse_day(value) else _wrong_day(value)
    if column == "price":
        return None if parse_price(value) else _wrong_price(value)
    if not _CODE.fullmatch(value):
        return fault(column, value, "invalid_code", f"{column} must be a port's UN/LOCODE such as CNSHA")
    if value not in ports:
        return fault(column, value, UNKNOWN_PORT, f"there is no port {value}; load it with `reference load`")
    return None


def parse_day(value: str) -> int:
    """Return the number of a day written YYYY-MM-DD (0001-01-01 is 1), or 0 if it is none."""
    if not _DAY.fullmatch(value):
        return 0
    try:
        return date(int(value[:4]), int(value[5:7]), int(value[8:])).toordinal()
    except ValueError:
        return 0


def parse_price(value: str) -> int:
    """Return a price in whole US dollars, or 0 if `value` is none."""
    if not _PRICE.fullmatch(value):
        return 0
    digits = value.lstrip("0")
    # Ten digits at most, before Python makes a number of a million of them.
    return number if 0 < len(digits) <= 10 and (number := int(digits)) <= MAX_PRICE else 0


def _wrong_day(value: str) -> Violation:
    if _DAY.fullmatch(value):
        return fault("day", value, "impossible_day", "there is no such day in the calendar")
    return fault("day", value, "invalid_day", "day must be written YYYY-MM-DD, such as 2021-01-31")


def _wrong_price(value: str) -> Violation:
    if _PRICE.fullmatch(value) and value.strip("0"):
        return fault("price", value, "price_too_large", f"price must be at most {MAX_PRICE:,}")
    if _PRICE.fullmatch(value) or re.fullmatch(r"-[0-9]+", value, re.ASCII):
        return fault("price", value, "price_not_positive", "price must be more than 0")
    return fault("price", value, "invalid_price", "price must be a whole number of US dollars in plain digits")


def fault(column: str, value: str, reason: str, message: str) -> Violation:
    """Return a problem in characters that every reader can show, its value cut to what a report repeats."""
    shown = value if len(value) <= SHOWN else value[:SHOWN] + "…"
    return Violation(column, printable(shown), reason, printable(message))


def printable(text: str) -> str:
    """Return a text with what is no sign to look at written as its escape."""
    if text.isprintable():
        return text
    # NUL is refused by PostgreSQL's JSON, half a surrogate pair by UTF-8, and others move the cursor.
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
