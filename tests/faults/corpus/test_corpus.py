"""Every broken file of the corpus is refused, at its line and for its reason, and its list of errors is harmless."""

import csv
import io
import json

import pytest

from ratesflow.database.reference import builtin
from ratesflow.loader.files.read_shard import read_shard
from ratesflow.loader.files.report import FIRST_ERRORS, ReportWriter, ShardReport, merged
from ratesflow.loader.freight.validator import PriceValidator
from tests.faults.corpus.cases import Case, cases
from tests.loader.reading_files import fetch_from

CASES = list(cases())
PORTS = sorted(builtin().ports)
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def validated(data: bytes) -> tuple[ShardReport, list[list[str]]]:
    """Validate a file; return its report and the rows of its list of errors, read as a spreadsheet would."""
    with ReportWriter() as writer:
        read_shard(fetch_from(data, 997), len(data), PriceValidator(PORTS), writer)
        path = writer.full_report()
        listed = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))) if path else []
        return writer.finish(), listed


def test_the_corpus_is_large_and_without_doubles() -> None:
    """There are hundreds of files, each under a name of its own."""
    assert len(CASES) >= 300
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("number", range(0, len(CASES), 25))
def test_broken_files_are_refused_where_they_are_broken(number: int) -> None:
    """The first error has the line, the column and the reason that were expected, and nothing that moves a cursor."""
    wrong = []
    for case in CASES[number : number + 25]:
        found, listed = validated(case.data)
        report = merged([found])
        first = report.errors[0] if report.errors else {"line": 0, "reason": "accepted", "column": "", "value": ""}
        told = (first["line"], first["reason"], first["column"] if case.column else None)
        if report.accepted or told != (case.line, case.reason, case.column):
            wrong.append(f"{case.name}: {told}, expected {(case.line, case.reason, case.column)}")
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
def test_formulas_reach_no_list_of_errors(column: str, sign: str) -> None:
    """A value that a spreadsheet would run is told apart by a quote before it; its report in JSON has it as it was."""
    names = ["orig_code", "dest_code", "day", "price"]
    row = dict(zip(names, ("CNSHA", "NLRTM", "2021-01-31", "5"), strict=True)) | {column: f"{sign}HYPERLINK(1)"}
    data = ",".join(names) + "\n" + ",".join(row.values()) + "\n"
    found, listed = validated(data.encode())
    assert found.errors[0]["value"] == f"{sign}HYPERLINK(1)"
    assert listed[1][2] == f"'{sign}HYPERLINK(1)"


def test_a_case_is_the_same_in_every_process() -> None:
    """The files do not depend on when and where they are made."""
    again = {case.name: case for case in cases()}
    assert all(isinstance(case, Case) and again[case.name].data == case.data for case in CASES)
