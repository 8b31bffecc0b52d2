"""Invalid text files: invalid values in all notations, and damaged lines, headers and files."""

import bz2
import gzip
import io
import json
import lzma
import random
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.loader.samples import Row, csv, rows

NAMES = ("orig_code", "dest_code", "day", "price")
COUNT = 40
# Invalid values and their reasons, by column; the first two columns have the same.
INVALID: dict[str, dict[str, str]] = {
    "orig_code": {
        "": "missing_value",
        "cnsha": "invalid_code",
        "CNSH": "invalid_code",
        "CNSHAA": "invalid_code",
        "CNSH1": "invalid_code",
        "C1SHA": "invalid_code",
        " CNSHA": "invalid_code",
        "CNSHA ": "invalid_code",
        "CN\u200bSHA": "invalid_code",
        "СNSHA": "invalid_code",
        "ＣＮＳＨＡ": "invalid_code",
        "NULL": "invalid_code",
        "=CMD|' /C calc'!A0": "invalid_code",
        "@SUM(1)": "invalid_code",
        "-1+1": "invalid_code",
        "'; DROP TABLE prices;--": "invalid_code",
        "${jndi:ldap://x}": "invalid_code",
        "{{7*7}}": "invalid_code",
        "<script>": "invalid_code",
        "../../etc": "invalid_code",
        "china_main": "invalid_code",
        "ZZZZZ": "unknown_port",
        "XXXXX": "unknown_port",
        "AAAAA": "unknown_port",
    },
    "day": {
        "": "missing_value",
        "2021-02-29": "impossible_day",
        "2021-13-01": "impossible_day",
        "0000-01-01": "impossible_day",
        "2021-00-10": "impossible_day",
        "2021-01-00": "impossible_day",
        "2021-1-1": "invalid_day",
        "20210101": "invalid_day",
        "2021/01/01": "invalid_day",
        "01.02.2021": "invalid_day",
        "2021-01-01T00:00:00": "invalid_day",
        "2021-01-01 ": "invalid_day",
        " 2021-01-01": "invalid_day",
        "+2021-01-01": "invalid_day",
        "-2021-01-01": "invalid_day",
        "12021-01-01": "invalid_day",
        "٢٠٢١-٠١-٠١": "invalid_day",
        "today": "invalid_day",
        "infinity": "invalid_day",
        "epoch": "invalid_day",
        "2021-W01-1": "invalid_day",
        "44197": "invalid_day",
        "2021–01–01": "invalid_day",
        "2021-01-01\u2028": "invalid_day",
    },
    "price": {
        "": "missing_value",
        "0": "price_not_positive",
        "-0": "price_not_positive",
        "-5": "price_not_positive",
        "-99999999999999999999": "price_not_positive",
        "2147483648": "price_too_large",
        "99999999999999999999": "price_too_large",
        "5.0": "invalid_price",
        "5.": "invalid_price",
        ".5": "invalid_price",
        "5e2": "invalid_price",
        "0x10": "invalid_price",
        "1_000": "invalid_price",
        "+5": "invalid_price",
        " 5": "invalid_price",
        "5 ": "invalid_price",
        "5\u00a0": "invalid_price",
        "٥": "invalid_price",
        "５": "invalid_price",
        "²": "invalid_price",
        "½": "invalid_price",
        "NaN": "invalid_price",
        "inf": "invalid_price",
        "$5": "invalid_price",
        "5 USD": "invalid_price",
        "five": "invalid_price",
        "=5": "invalid_price",
        "1'000": "invalid_price",
        "true": "invalid_price",
    },
}
INVALID["dest_code"] = INVALID["orig_code"]


@dataclass(frozen=True)
class Case:
    """A file, and the line, column and reason of its first error; a `column` of None is not checked."""

    name: str
    data: bytes
    line: int
    reason: str
    column: str | None = None
    value: str | None = None


def valid_rows() -> list[Row]:
    """Return valid rows."""
    return rows(COUNT, seed=5, lanes=6)


def values() -> Iterator[Case]:
    """Yield each invalid value in plain CSV, and in one other notation, at alternating positions."""
    chance = random.Random(2)
    notations = (_plain, _quoted, _crlf, _packed, _objects)
    for column in NAMES:
        for number, (value, reason) in enumerate(INVALID[column].items()):
            for notation in (_plain, notations[1 + number % 4]):
                if notation is _objects and column == "price":
                    continue  # numbers in JSON are below
                at = chance.choice([0, 1, COUNT // 2, COUNT - 1])
                data, first = notation(column, value, at)
                yield Case(f"{column} {number} {notation.__name__[1:]}", data, first + at, reason, column, value)
    for number, value in enumerate(
        ("5.0", "5e2", '"5"', "null", "true", "[5]", "{}", "-5", "0", "1e999", "2147483648")
    ):
        text = object_lines()
        text[3] = text[3].rpartition(b":")[0] + f": {value}}}".encode()
        reason = {"-5": "price_not_positive", "0": "price_not_positive", "null": "missing_value"}
        reason["2147483648"] = "price_too_large"
        yield Case(f"price {number} as JSON", b"\n".join(text) + b"\n", 4, reason.get(value, "invalid_price"), "price")


def _fields(column: str, value: str, at: int) -> list[list[str]]:
    fields = [[str(field) for field in row] for row in valid_rows()]
    fields[at][NAMES.index(column)] = value
    return fields


def _plain(column: str, value: str, at: int) -> tuple[bytes, int]:
    lines = [",".join(NAMES), *(",".join(fields) for fields in _fields(column, value, at)), ""]
    return "\n".join(lines).encode(), 2


def _quoted(column: str, value: str, at: int) -> tuple[bytes, int]:
    lines = [",".join(f'"{field}"' for field in fields) for fields in _fields(column, value, at)]
    return "\n".join([",".join(NAMES), *lines, ""]).encode(), 2


def _crlf(column: str, value: str, at: int) -> tuple[bytes, int]:
    return _plain(column, value, at)[0].replace(b"\n", b"\r\n"), 2


def _packed(column: str, value: str, at: int) -> tuple[bytes, int]:
    return gzip.compress(_plain(column, value, at)[0], mtime=0), 2


def _objects(column: str, value: str, at: int) -> tuple[bytes, int]:
    text = [dict(zip(NAMES, fields, strict=True)) for fields in _fields(column, value, at)]
    return "".join(json.dumps({**row, "price": int(row["price"])}) + "\n" for row in text).encode(), 1


def object_lines() -> list[bytes]:
    return _objects("price", "5", 0)[0].splitlines()


def damaged_lines() -> Iterator[Case]:
    """Yield files with one damaged line: the first, a middle or the last one."""
    damages: dict[str, tuple[Callable[[bytes], bytes], str]] = {
        "a missing field": (lambda line: line.rpartition(b",")[0], "wrong_field_count"),
        "an additional field": (lambda line: line + b",", "wrong_field_count"),
        "two additional fields": (lambda line: line + b",a,b", "wrong_field_count"),
        "nothing": (lambda _: b"", "wrong_field_count"),
        "a space": (lambda _: b" ", "wrong_field_count"),
        "only commas": (lambda _: b",,,", "missing_value"),
        "semicolons": (lambda line: line.replace(b",", b";"), "wrong_field_count"),
        "tabs": (lambda line: line.replace(b",", b"\t"), "wrong_field_count"),
        "a comment": (lambda line: b"# " + line, "invalid_code"),
        "an end of data": (lambda _: b"\\.", "wrong_field_count"),
        "a NUL": (lambda line: line[:3] + b"\0" + line[3:], "nul_byte"),
        "Latin-1": (lambda line: b"\xe9" + line, "invalid_utf8"),
        "an overlong form": (lambda line: b"\xc0\xaf" + line, "invalid_utf8"),
        "a surrogate": (lambda line: b"\xed\xa0\x80" + line, "invalid_utf8"),
        "a carriage return": (lambda line: line[:6] + b"\r" + line[6:], "line_end"),
        "a carriage return before its end": (lambda line: line + b"\r\r", "line_end"),
        "an open quote": (lambda line: line.replace(b",", b',"', 1), "open_quote"),
        "a byte order mark": (lambda line: b"\xef\xbb\xbf" + line, "invalid_code"),
        "the header again": (lambda _: ",".join(NAMES).encode(), "invalid_code"),
        "70,000 notifications": (lambda _: b"x" * 70_000, "line_too_long"),
    }
    for name, (change, reason) in damages.items():
        # Empty lines at the end of a file are ignored.
        for at in (1, COUNT // 2, COUNT - (name == "nothing")):
            lines = csv(valid_rows()).split(b"\n")
            lines[at] = change(lines[at])
            yield Case(f"{name} on line {at + 1}", b"\n".join(lines), at + 1, reason)


def other_formats() -> Iterator[Case]:
    """Yield files in other formats and encodings."""
    text = csv(valid_rows())
    workbook = io.BytesIO()
    with zipfile.ZipFile(workbook, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("prices.csv"), text)
    yield Case("a zip", workbook.getvalue(), 1, "unknown_format")
    yield Case("bzip2", bz2.compress(text), 1, "unknown_format")
    yield Case("xz", lzma.compress(text), 1, "unknown_format")
    yield Case("gzip twice", gzip.compress(gzip.compress(text, mtime=0), mtime=0), 1, "unknown_format")
    yield Case("UTF-16", text.decode().encode("utf-16"), 1, "unknown_format")
    yield Case("UTF-32", text.decode().encode("utf-32"), 1, "unknown_format")
    yield Case("XML", b"<?xml version='1.0'?><prices/>", 1, "unknown_format")
    yield Case("HTML", b"<html><body>503 Slow Down</body></html>", 1, "unknown_format")
    yield Case("a JSON array", b"[" + b",".join(object_lines()) + b"]", 1, "unknown_format")
    yield Case("PDF", b"%PDF-1.7\n" + text, 1, "unknown_format")
    yield Case("7-Zip", b"7z\xbc\xaf\x27\x1c" + text, 1, "unknown_format")
    yield Case("EBCDIC", text.decode().encode("cp500"), 1, "not_csv")
    yield Case("nothing", b"", 1, "empty_file")
    yield Case("one line end", b"\n", 1, "wrong_header")
    yield Case("zeros", bytes(5000), 1, "wrong_header")


def headers() -> Iterator[Case]:
    """Yield files whose header is invalid."""
    text, header = csv(valid_rows()), ",".join(NAMES).encode()
    for name, other in {
        "other case": header.upper(),
        "spaces after commas": header.replace(b",", b", "),
        "another name": header.replace(b"price", b"amount"),
        "one missing": header.rpartition(b",")[0],
        "an additional one": header + b",note",
        "one repeated": header.replace(b"day", b"price"),
        "an empty name": header + b",",
        "tabs": header.replace(b",", b"\t"),
        "semicolons": header.replace(b",", b";"),
        "a space at its end": header + b" ",
        "a formula": b"=" + header,
        "a comment before": b"# prices\n" + header,
        "sep=": b"sep=,\n" + header,
    }.items():
        yield Case(f"header: {name}", text.replace(header, other, 1), 1, "wrong_header")
    yield Case("header: an open quote", text.replace(header, b'"' + header, 1), 1, "not_csv")
    yield Case("header: a carriage return", text.replace(b",day", b"\r,day", 1), 1, "line_end")
    yield Case("only a header", header + b"\n", 2, "no_rows")
