"""Every invalid file of the corpus is rejected with the expected line and reason, and a safe list of errors."""

import csv
import io
import json

import pytest

from ratesflow.database.reference import builtin
from ratesflow.loader.files.read_shard import read_shard
from ratesflow.loader.files.report import FIRST_ERRORS, ReportWriter, ShardReport, merged
from ratesflow.loader.freight.schema import ROWS
from ratesflow.loader.freight.validator import PriceValidator
from tests.faults.corpus.cases import Case, cases
from tests.loader.reading_files import fetch_from

CASES = list(cases())
PORTS = sorted(builtin().ports)
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def validated(data: bytes) -> tuple[ShardReport, list[list[str]]]:
    """Validate a file; return its report and the rows of its list of errors, parsed as a spreadsheet does."""
    with ReportWriter(ROWS) as writer:
        read_shard(fetch_from(data, 997), len(data), PriceValidator(PORTS), writer)
        path = writer.full_report()
        listed = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))) if path else []
        return writer.finish(), listed


def test_corpus_is_large_and_has_unique_names() -> None:
    """The corpus has at least 300 files with unique names."""
    assert len(CASES) >= 300
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("number", range(0, len(CASES), 25))
def test_invalid_files_are_rejected_with_line_and_reason(number: int) -> None:
    """The first error has the expected line, column and reason, and no text has control characters."""
    wrong = []
    for case in CASES[number : number + 25]:
        found, listed = validated(case.data)
        report = merged([found], ROWS)
        first = report.errors[0] if report.errors else {"line": 0, "reason": "accepted", "column": "", "value": ""}
        actual = (first["line"], first["reason"], first["column"] if case.column else None)
        if report.accepted or actual != (case.line, case.reason, case.column):
            wrong.append(f"{case.name}: {actual}, expected {(case.line, case.reason, case.column)}")
        wrong += [f"{case.name}: {text!r} is not printable" for text in _texts(report.errors) if not text.isprintable()]
        wrong += [
            f"{case.name}: {cell!r} is a formula" for row in listed[1:] for cell in row[1:] if cell.startswith(FORMULA)
        ]
    assert wrong == []


def _texts(errors: list[dict[str, object]]) -> list[str]:
    assert len(errors) <= FIRST_ERRORS
    json.dumps(errors).encode()
    return [text for error in errors for text in error.values() if isinstance(text, str)]


@pytest.mark.parametrize("column", ["orig_code", "dest_code", "day", "price"])
@pytest.mark.parametrize("sign", ["=", "+", "-", "@"])
def test_formulas_are_escaped_in_the_list_of_errors(column: str, sign: str) -> None:
    """A value that a spreadsheet would evaluate gets a leading quote; the JSON report has it unchanged."""
    names = ["orig_code", "dest_code", "day", "price"]
    row = dict(zip(names, ("CNSHA", "NLRTM", "2021-01-31", "5"), strict=True)) | {column: f"{sign}HYPERLINK(1)"}
    data = ",".join(names) + "\n" + ",".join(row.values()) + "\n"
    found, listed = validated(data.encode())
    assert found.errors[0]["value"] == f"{sign}HYPERLINK(1)"
    assert listed[1][2] == f"'{sign}HYPERLINK(1)"


def test_cases_are_deterministic() -> None:
    """The bytes of each case are always the same."""
    again = {case.name: case for case in cases()}
    assert all(isinstance(case, Case) and again[case.name].data == case.data for case in CASES)
