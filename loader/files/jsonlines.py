"""JSON Lines: one object per line, with exactly the dataset's keys; integers as numbers, text and days as strings.

Python's JSON parser reads a line, strictly: no duplicate keys, no NaN, no 5.0 or 5e2. Files are written by programs, so
nearly all lines have the same text around their values. If all lines of a piece do, the piece is converted to CSV as a
whole, then checked and copied as CSV. Both ways find the same values.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ratesflow.loader.dataset import Column, Kind, RowSchema, Violation, violation
from ratesflow.loader.files.lines import EMPTY_LINE, unreadable

_SPACE = rb"[ \t\r]*"
_MEMBER = _SPACE + rb'"(\w+)"' + _SPACE + rb":" + _SPACE + rb'("?)([^",{}\s\\]*)("?)' + _SPACE
# Separators between values while a piece is converted, one for each comma of a row.
_MARKS = tuple(bytes([number]) for number in range(1, 9))
# The bytes that values of a converted piece may have.
_VALUES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-"
_TO_COMMAS = bytes.maketrans(b"".join(_MARKS), b"," * len(_MARKS))

# The violation of an empty line with rows after it, as for CSV.
EMPTY_OBJECT = Violation("", "", "invalid_json", EMPTY_LINE.message)


@dataclass(frozen=True)
class Shape:
    """The shape of all lines of a piece: the order of keys, and the text before, between and after the values."""

    columns: tuple[str, ...]
    before: bytes
    between: tuple[bytes, ...]
    after: bytes


def columns_of(line: bytes, schema: RowSchema) -> tuple[str, ...]:
    """Return the order of the keys in a file with this first line; the schema's order if the line is unusual."""
    shape = _shape(line, schema)
    return shape.columns if shape else schema.names


@lru_cache
def _line(columns: int) -> re.Pattern[bytes]:
    return re.compile(_SPACE + rb"\{" + rb",".join([_MEMBER] * columns) + rb"\}" + _SPACE)


def _shape(line: bytes, schema: RowSchema) -> Shape | None:
    count = len(schema.columns)
    found = _line(count).fullmatch(line) if count <= len(_MARKS) + 1 else None
    if not found:
        return None
    keys, opening, closing = found.groups()[0::4], found.groups()[1::4], found.groups()[3::4]
    columns = tuple(key.decode() for key in keys)
    integers = {column.name for column in schema.columns if column.kind is Kind.INTEGER}
    quotes = tuple(b"" if column in integers else b'"' for column in columns)
    if set(columns) != set(schema.names) or not opening == closing == quotes:
        return None
    ends = [0, *(end for number in range(3, 4 * count, 4) for end in found.span(number)), len(line)]
    texts = [line[ends[at] : ends[at + 1]] for at in range(0, len(ends), 2)]
    return Shape(columns, texts[0], tuple(texts[1:-1]), texts[-1])


def as_csv(piece: bytes, lines: int, columns: tuple[str, ...], schema: RowSchema) -> bytes | None:
    """Return whole lines as CSV with these columns, None if not all have the same shape and plain values.

    The values are not checked, except that integers have no leading zero.
    """
    text = _converted(piece, lines, columns, schema)
    if text is None and b"\r\n" in piece:  # some lines may end in CRLF, some in LF
        text = _converted(piece.replace(b"\r\n", b"\n"), lines, columns, schema)
    return text


def _converted(piece: bytes, lines: int, columns: tuple[str, ...], schema: RowSchema) -> bytes | None:
    shape = _shape(piece[: piece.find(b"\n") + 1 or len(piece)].removesuffix(b"\n"), schema)
    marks = _MARKS[: len(columns) - 1]
    if shape is None or shape.columns != columns or any(mark in piece for mark in marks):
        return None
    whole = piece if piece.endswith(b"\n") else piece + b"\n"
    end, joint = shape.after + b"\n", shape.after + b"\n" + shape.before
    # Each line end is part of a joint, so all lines have the same beginning and end.
    if not whole.endswith(end) or whole.count(joint) != lines - 1:
        return None
    text = whole[len(shape.before) : -len(end)].replace(joint, b"\n") + b"\n"
    for mark, between in zip(marks, shape.between, strict=True):
        text = text.replace(between, mark)
    end_of_line = b"".join(marks) + b"\n"
    if text.translate(None, _all_but(end_of_line)) != end_of_line * lines or text.translate(
        None, _VALUES + end_of_line
    ):
        return None
    before = dict(zip(columns, (b"\n", *marks), strict=True))
    whole = b"\n" + text
    if any(before[column.name] + b"0" in whole for column in schema.columns if column.kind is Kind.INTEGER):
        return None
    return text.translate(_TO_COMMAS)


def _all_but(kept: bytes) -> bytes:
    return bytes(set(range(256)) - set(kept))


class _Integer(str):
    """The text of a JSON integer."""


class _Fraction(str):
    """The text of a JSON number with a fraction or an exponent."""


class _Pairs(list[tuple[str, Any]]):
    """An object's members in order, duplicate keys included."""


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(
    object_pairs_hook=_Pairs, parse_int=_Integer, parse_float=_Fraction, parse_constant=_no_constant
)


def members(line: bytes, schema: RowSchema) -> dict[str, Any] | list[Violation]:
    """Return the values of a line by key, of any type, or the violations of the object."""
    line = line.removesuffix(b"\n")
    if wrong := unreadable(line):
        return [wrong]
    text = line.decode()
    try:
        pairs = _decoder.decode(text)
    except json.JSONDecodeError as error:
        if not text.removesuffix("\r"):
            return [EMPTY_OBJECT]
        return [_not_json(text, f"not JSON at column {error.colno}: {error.msg}")]
    except (ValueError, RecursionError) as error:
        return [_not_json(text, f"not JSON: {error}")]
    if not isinstance(pairs, _Pairs):
        return [violation("", text, "invalid_json", "not an object; each line must be one object")]
    return _wrong_keys(pairs, schema.names) or dict(pairs)


def _not_json(text: str, reason: str) -> Violation:
    shown = reason if text.strip() else "a line of white space"
    return violation("", text, "invalid_json", f"{shown}; each line must be one object")


def _wrong_keys(pairs: _Pairs, names: Sequence[str]) -> list[Violation]:
    keys = [key for key, _ in pairs]
    found = [
        violation(key, "", "duplicate_key", f"the object has the key {key} more than once")
        for key in names
        if keys.count(key) > 1
    ]
    found += [violation(key, "", "missing_value", f"the object has no key {key}") for key in names if key not in keys]
    unknown = [key for key in keys if key not in names]
    if unknown:
        message = f"the object must have the keys {', '.join(names)} and no others"
        found.append(violation("", ", ".join(unknown), "unknown_key", message))
    return found


def wrong_type(column: Column, value: Any) -> Violation | None:
    """Return the violation of a value that is null or has another type than its column, or None."""
    if value is None:
        return violation(column.name, "null", "missing_value", f"{column.name} is null")
    if column.kind is Kind.INTEGER:
        right = type(value) is _Integer
        wanted = "a JSON integer: no quotes, no fraction, no exponent"
    else:
        right, wanted = type(value) is str, "a JSON string"
    return (
        None if right else violation(column.name, _shown(value), column.wrong_type, f"{column.name} must be {wanted}")
    )


def _shown(value: Any) -> str:
    if isinstance(value, _Pairs):
        return "an object"
    return value if isinstance(value, str) else json.dumps(value)


def rows_as_csv(piece: bytes, lines: int, columns: Sequence[str], schema: RowSchema) -> bytes:
    """Return validated lines as CSV with these columns. Raises ValueError when they are not valid."""
    text = as_csv(piece, lines, tuple(columns), schema)
    if text is not None:
        return text
    rows = []
    for line in piece.split(b"\n")[:lines]:
        row = members(line, schema)
        if isinstance(row, list):
            raise ValueError(row[0].message)
        rows.append(",".join(row[column] for column in columns) + "\n")
    return "".join(rows).encode()
