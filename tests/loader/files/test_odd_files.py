"""Odd files through the whole validation: outcome, line, reason and message."""

import gzip
import json
import tracemalloc
from typing import Any

import pytest

from ratesflow.loader.files import report
from ratesflow.loader.files.report import ValidationReport
from ratesflow.loader.tasks.validate import validate
from tests.loader.conftest import TaskHarness
from tests.loader.reading_files import validated

HEADER = b"orig_code,dest_code,day,price\n"
ROW = b"CNSHA,NLRTM,2021-01-31,5\n"
OBJECT = b'{"orig_code":"CNSHA","dest_code":"NLRTM","day":"2021-01-31","price":5}\n'


def priced(price: str) -> bytes:
    """Return a file whose second row, on line 3, has this price."""
    return HEADER + ROW + f"CNSHA,NLRTM,2021-01-31,{price}\n".encode() + ROW


def dated(day: str) -> bytes:
    """Return a file whose second row, on line 3, has this day."""
    return HEADER + ROW + f"CNSHA,NLRTM,{day},5\n".encode() + ROW


ODD: dict[str, tuple[bytes, int, str]] = {
    "nothing at all": (b"", 1, "empty_file"),
    "a header only": (HEADER, 2, "no_rows"),
    "a header without its line end": (HEADER.strip(), 2, "no_rows"),
    "a byte order mark only": (b"\xef\xbb\xbf", 1, "wrong_header"),
    "an empty line before the header": (b"\n" + HEADER + ROW, 1, "wrong_header"),
    "no header": (ROW * 3, 1, "wrong_header"),
    "a column missing": (b"orig_code,dest_code,day\nCNSHA,NLRTM,2021-01-01\n", 1, "wrong_header"),
    "a column too many": (HEADER.replace(b"\n", b",note\n") + ROW, 1, "wrong_header"),
    "a column twice": (HEADER.replace(b"day", b"price") + ROW, 1, "wrong_header"),
    "semicolons": ((HEADER + ROW).replace(b",", b";"), 1, "wrong_header"),
    "NUL bytes in the header": (HEADER.replace(b"day", b"d\0y") + ROW, 1, "wrong_header"),
    "UTF-16 without a mark": ((HEADER + ROW).decode().encode("utf-16-le"), 1, "wrong_header"),
    "UTF-16": ((HEADER + ROW).decode().encode("utf-16"), 1, "unknown_format"),
    "a workbook": (b"PK\x03\x04" + bytes(range(256)), 1, "unknown_format"),
    "a JSON array": (b"[" + OBJECT.strip() + b"]", 1, "unknown_format"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), 1, "not_csv"),
    "gzip in gzip": (gzip.compress(gzip.compress(HEADER + ROW)), 1, "unknown_format"),
    "an empty gzip": (gzip.compress(b""), 1, "empty_file"),
    "a gzip that is cut": (gzip.compress(HEADER + ROW * 9)[:-9], 11, "truncated_gzip"),
    "the first bytes of a gzip": (gzip.compress(HEADER + ROW)[:12], 1, "truncated_gzip"),
    "the first bytes of a Parquet file": (b"PAR1\x15\x04", 1, "truncated_parquet"),
    "a Parquet file without sense": (b"PAR1" + b"\x15" * 40 + b"\x10\0\0\0PAR1", 1, "broken_parquet"),
    "a Parquet file with a huge footer": (b"PAR1" + b"\x15" * 40 + b"\0\0\0\x7fPAR1", 1, "broken_parquet"),
    "a NUL byte": (HEADER + ROW + ROW.replace(b"N", b"\0", 1), 3, "nul_byte"),
    "invalid UTF-8": (HEADER + ROW + ROW.replace(b"N", b"\xff", 1), 3, "invalid_utf8"),
    "half a surrogate pair in UTF-8": (HEADER + ROW + ROW.replace(b"CNSHA", b"\xed\xa0\x80"), 3, "invalid_utf8"),
    "a quoted line end": (HEADER + ROW + b'CNSHA,NLRTM,"2021-\n01-31",5\n', 3, "open_quote"),
    "an open quote at the end": (HEADER + ROW + b'CNSHA,NLRTM,2021-01-31,"5', 3, "open_quote"),
    "CR alone": ((HEADER + ROW).replace(b"\n", b"\r"), 1, "line_end"),
    "CR alone at the end": (HEADER + ROW + b"\r", 3, "line_end"),
    "a last line that ends in CR": (HEADER + ROW + ROW.replace(b"\n", b"\r"), 3, "line_end"),
    "two CR before LF": (HEADER + ROW + ROW.replace(b"\n", b"\r\r\n") + b"\n", 3, "line_end"),
    "two CR before LF on an empty line at the end": (HEADER + ROW + b"\r\r\n\n", 3, "line_end"),
    "an empty line": (HEADER + ROW + b"\n" + ROW, 3, "wrong_field_count"),
    "an empty line in CRLF": (HEADER + ROW + b"\r\n" + ROW, 3, "wrong_field_count"),
    "an empty line at the beginning": (HEADER + b"\n" + ROW, 2, "wrong_field_count"),
    "a space on the last line": (HEADER + ROW + b" \n\n", 3, "wrong_field_count"),
    "empty lines only": (HEADER + b"\n\r\n", 2, "no_rows"),
    "a field too many": (HEADER + ROW + ROW.replace(b"\n", b",\n"), 3, "wrong_field_count"),
    "an end of data as COPY knows it": (HEADER + ROW + b"\\.\n" + ROW, 3, "wrong_field_count"),
    "a long line": (HEADER + ROW + b"x" * 70_000 + b"\n" + ROW, 3, "line_too_long"),
    "a line without an end": (HEADER + ROW + b"x" * 9_000_000, 3, "line_too_long"),
    "a long header": (b"x" * 70_000, 1, "line_too_long"),
    "digits of another script": (priced("٣"), 3, "invalid_price"),
    "an underscore": (priced("1_000"), 3, "invalid_price"),
    "a space before": (priced(" 5"), 3, "invalid_price"),
    "a space after": (priced("5 "), 3, "invalid_price"),
    "a no-break space": (priced("5\u00a0"), 3, "invalid_price"),
    "a plus sign": (priced("+5"), 3, "invalid_price"),
    "an exponent": (priced("1e3"), 3, "invalid_price"),
    "a fraction": (priced("5.0"), 3, "invalid_price"),
    "a hexadecimal number": (priced("0x10"), 3, "invalid_price"),
    "not a number": (priced("NaN"), 3, "invalid_price"),
    "nothing": (priced(""), 3, "missing_value"),
    "quoted nothing": (priced('""'), 3, "missing_value"),
    "zero": (priced("000"), 3, "price_not_positive"),
    "less than zero": (priced("-5"), 3, "price_not_positive"),
    "one more than an integer": (priced("2147483648"), 3, "price_too_large"),
    "thousands of digits": (priced("9" * 5000), 3, "price_too_large"),
    "a day that is not": (dated("2021-02-29"), 3, "impossible_day"),
    "year zero": (dated("0000-01-01"), 3, "impossible_day"),
    "a day in words": (dated("today"), 3, "invalid_day"),
    "infinity": (dated("infinity"), 3, "invalid_day"),
    "a day with a time": (dated("2021-01-31T00:00"), 3, "invalid_day"),
    "a day before Christ": (dated("0044-03-15 BC"), 3, "invalid_day"),
    "a day in another order": (dated("31.01.2021"), 3, "invalid_day"),
    "a formula": (HEADER + ROW + b"=1+1,NLRTM,2021-01-31,5\n", 3, "invalid_code"),
    "signs that move the cursor": (HEADER + ROW + b"\x1b[2J,NLRTM,2021-01-31,5\n", 3, "invalid_code"),
    "JSON that is cut": (OBJECT + OBJECT[:-9], 2, "invalid_json"),
    "JSON with an empty line": (OBJECT + b"\n" + OBJECT, 2, "invalid_json"),
    "JSON with a space on the last line": (OBJECT + b" \n\n", 2, "invalid_json"),
    "JSON over several lines": (b'{\n"orig_code":"CNSHA"\n}\n', 1, "invalid_json"),
    "JSON with a NUL sign": (OBJECT + OBJECT.replace(b"CN", b"\\u0000"), 2, "invalid_code"),
    "JSON with half a surrogate pair": (OBJECT + OBJECT.replace(b"CN", b"\\ud800"), 2, "invalid_code"),
    "JSON with a key of such": (OBJECT + OBJECT.replace(b"day", b"\\ud800\\u0000"), 2, "missing_value"),
    "CSV in a file of JSON": (OBJECT + ROW, 2, "invalid_json"),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_is_rejected_with_its_line_and_reason(harness18: TaskHarness, name: str) -> None:
    """No odd file is a failure: it is rejected, and the report has the line and the reason."""
    data, line, reason = ODD[name]
    result = harness18.run(validate, harness18.send(data))
    assert result.outcome == "rejected"
    assert result.message
    stored = json.loads(_read(harness18, result.report))
    error = stored["errors"][0]
    assert (error["line"], error["reason"]) == (line, reason)
    assert error["message"].isprintable()
    assert error["value"].isprintable()
    if reason != "no_rows":
        assert _read(harness18, stored["full_report"]).startswith(f"line,column,value,reason,message\r\n{line},")


def _read(harness: TaskHarness, url: str) -> str:
    body: Any = harness.aws("s3").get_object(Bucket=harness.bucket, Key=url.split("/", 3)[3])["Body"]
    return body.read().decode()


@pytest.mark.parametrize(
    "line", [b"CNSHA;NLRTM\n", b"XXXXX,NLRTM,2021-13-01,1.5\n", b"\n", b"CNSHA,NLRTM,2021-01-31,x\n"]
)
def test_a_file_of_bad_rows_alone_is_counted_whole_in_bounded_memory(
    line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row is counted; the list of violations ends at its limit, and memory is bounded."""
    monkeypatch.setattr(report, "LISTED_ERRORS", 1000)
    rows = 4_000_000 // max(len(line), 10)
    tracemalloc.start()
    found, _ = validated(HEADER + line * rows + ROW)  # at the end, empty lines would be passed over
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found.rows, found.rejected_rows) == (rows + 1, rows)
    assert (len(found.errors), found.listed_errors) == (100, 1000)
    assert sum(found.reasons.values()) >= rows
    assert most < 30_000_000


def test_a_file_without_rows_is_described_by_its_header() -> None:
    """The summary of a rejected file whose header is wrong counts no rows: it is the sentence about the header."""
    error = {"line": 1, "column": "", "value": "", "reason": "wrong_header", "message": "the header must name day"}
    report = ValidationReport(False, 0, 0, {"wrong_header": 1}, [error])
    assert report.summary == "line 1: the header must name day"
