"""JSON Lines: one object a line, with exactly the four keys; codes and day as strings, the price as an integer.

A line is read by Python's JSON parser, strictly: no key twice, no NaN, no 5.0 or 5e2. Files are written by
programs, so that nearly all lines have the same text but for their values; pieces in which all have it are
turned into CSV as a whole, which then is read and copied as CSV is. Both readings find the same values.
"""

import json
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

from ratesflow.loader.freight.schema import (
    COLUMNS,
    EMPTY_LINE,
    Price,
    Violation,
    check_value,
    fault,
    parse_day,
    parse_price,
    unreadable,
)

_SPACE = rb"[ \t\r]*"
_MEMBER = _SPACE + rb'"(\w+)"' + _SPACE + rb":" + _SPACE + rb'("?)([^",{}\s\\]*)("?)' + _SPACE
_LINE = re.compile(_SPACE + rb"\{" + rb",".join([_MEMBER] * 4) + rb"\}" + _SPACE)
# What stands between values while a piece is turned, and what may stand in values that are not read one by one.
_MARKS = b"\1\2\3"
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-\n" + _MARKS
_BUT_MARKS = bytes(set(range(256)) - set(_MARKS + b"\n"))
_TO_COMMAS = bytes.maketrans(_MARKS, b",,,")


# Where rows follow it, as for CSV.
EMPTY_OBJECT = Violation("", "", "invalid_json", EMPTY_LINE.message)


@dataclass(frozen=True)
class Shape:
    """What all lines of a piece have in common: the keys' order, and the text before, between and after the values."""

    columns: tuple[str, ...]
    before: bytes
    between: tuple[bytes, ...]
    after: bytes


def columns_of(line: bytes) -> tuple[str, ...]:
    """Return the order of the keys in a file whose first line this is; the contract's order if it is unusual."""
    shape = _shape(line)
    return shape.columns if shape else COLUMNS


def _shape(line: bytes) -> Shape | None:
    found = _LINE.fullmatch(line)
    if not found:
        return None
    keys, opening, closing = found.groups()[0::4], found.groups()[1::4], found.groups()[3::4]
    columns = tuple(key.decode() for key in keys)
    quotes = tuple(b"" if column == "price" else b'"' for column in columns)
    if set(columns) != set(COLUMNS) or not opening == closing == quotes:
        return None
    ends = [0, *(end for number in (3, 7, 11, 15) for end in found.span(number)), len(line)]
    texts = [line[ends[at] : ends[at + 1]] for at in range(0, len(ends), 2)]
    return Shape(columns, texts[0], tuple(texts[1:-1]), texts[-1])


def as_csv(piece: bytes, lines: int, columns: tuple[str, ...]) -> bytes | None:
    """Return whole lines as CSV with these columns, None if they are not all of one shape and plain values.

    What is returned tells nothing of whether the values are good, but for this: a price has no leading zero.
    """
    text = _turned(piece, lines, columns)
    if text is None and b"\r\n" in piece:  # some lines may end in CRLF, some in LF
        text = _turned(piece.replace(b"\r\n", b"\n"), lines, columns)
    return text


def _turned(piece: bytes, lines: int, columns: tuple[str, ...]) -> bytes | None:
    shape = _shape(piece[: piece.find(b"\n") + 1 or len(piece)].removesuffix(b"\n"))
    if shape is None or shape.columns != columns or any(mark in piece for mark in (b"\1", b"\2", b"\3")):
        return None
    whole = piece if piece.endswith(b"\n") else piece + b"\n"
    end, joint = shape.after + b"\n", shape.after + b"\n" + shape.before
    # Each line end belongs to a joint, and so all lines begin and end alike.
    if not whole.endswith(end) or whole.count(joint) != lines - 1:
        return None
    text = whole[len(shape.before) : -len(end)].replace(joint, b"\n") + b"\n"
    for mark, between in zip((b"\1", b"\2", b"\3"), shape.between, strict=True):
        text = text.replace(between, mark)
    if text.translate(None, _BUT_MARKS) != (_MARKS + b"\n") * lines or text.translate(None, _PLAIN):
        return None
    price = columns.index("price")
    if (b"\n", b"\1", b"\2", b"\3")[price] + b"0" in b"\n" + text:
        return None
    return text.translate(_TO_COMMAS)


class _Whole(str):
    """The digits of a JSON integer, as they are written."""


class _Fraction(str):
    """A JSON number with a fraction or an exponent, as it is written."""


class _Pairs(list[tuple[str, Any]]):
    """An object's members in their order, with those that come twice."""


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(
    object_pairs_hook=_Pairs, parse_int=_Whole, parse_float=_Fraction, parse_constant=_no_constant
)


def parse_object(line: bytes, ports: Container[str]) -> Price | list[Violation]:
    """Return the row that a line holds, or everything that is wrong with it."""
    row = members(line)
    if isinstance(row, list):
        return row
    problems = [problem for column in COLUMNS if (problem := _check(column, row[column], ports))]
    if problems:
        return problems
    return Price(row["orig_code"], row["dest_code"], parse_day(row["day"]), parse_price(row["price"]))


def members(line: bytes) -> dict[str, Any] | list[Violation]:
    """Return the four values of a line, of whatever type, or what is wrong with the object."""
    line = line.removesuffix(b"\n")
    if problem := unreadable(line):
        return [problem]
    text = line.decode()
    try:
        pairs = _decoder.decode(text)
    except json.JSONDecodeError as error:
        if not text.removesuffix("\r"):
            return [EMPTY_OBJECT]
        return [_no_json(text, f"not JSON at column {error.colno}: {error.msg}")]
    except (ValueError, RecursionError) as error:
        return [_no_json(text, f"not JSON: {error}")]
    if not isinstance(pairs, _Pairs):
        return [fault("", text, "invalid_json", "not an object; each line must be one object")]
    return _faults(pairs) or dict(pairs)


def _no_json(text: str, why: str) -> Violation:
    return fault(
        "", text, "invalid_json", f"{why if text.strip() else 'a line of spaces'}; each line must be one object"
    )


def _faults(pairs: _Pairs) -> list[Violation]:
    keys = [key for key, _ in pairs]
    problems = [
        fault(key, "", "duplicate_key", f"{key} stands twice in the object") for key in COLUMNS if keys.count(key) > 1
    ]
    problems += [fault(key, "", "missing_value", f"the object has no {key}") for key in COLUMNS if key not in keys]
    unknown = [key for key in keys if key not in COLUMNS]
    if unknown:
        message = f"the object must have {', '.join(COLUMNS)} and nothing else"
        problems.append(fault("", ", ".join(unknown), "unknown_key", message))
    return problems


def _check(column: str, value: Any, ports: Container[str]) -> Violation | None:
    if value is None:
        return fault(column, "null", "missing_value", f"{column} is null")
    if column == "price" and type(value) is not _Whole:
        message = "price must be a JSON integer: no quotes, no fraction, no exponent"
        return fault(column, _shown(value), "invalid_price", message)
    if column != "price" and type(value) is not str:
        reason = "invalid_day" if column == "day" else "invalid_code"
        return fault(column, _shown(value), reason, f"{column} must be a JSON string")
    return check_value(column, value, ports)


def _shown(value: Any) -> str:
    if isinstance(value, _Pairs):
        return "an object"
    return value if isinstance(value, str) else json.dumps(value)


def rows_as_csv(piece: bytes, lines: int, columns: Sequence[str]) -> bytes:
    """Return lines that were checked as CSV with these columns. Raises ValueError when they were not."""
    text = as_csv(piece, lines, tuple(columns))
    if text is not None:
        return text
    rows = []
    for line in piece.split(b"\n")[:lines]:
        row = members(line)
        if isinstance(row, list):
            raise ValueError(row[0].message)
        rows.append(",".join(row[column] for column in columns) + "\n")
    return "".join(rows).encode()
