"""The validation report: what was refused, where and why; the first hundred in JSON, all of it in CSV."""

import csv
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from loader.contract import Problem, RefusedFileError, fault

FIRST_ERRORS = 100
# Beyond this many, problems are counted but no longer listed: the file is broken, not a line of it.
LISTED_ERRORS = 1_000_000
COLUMNS = ("line", "column", "value", "reason", "message")


@dataclass(frozen=True)
class ValidationReport:
    """The report as it is stored. `reasons` counts problems; a row with two counts once in rejected_rows."""

    accepted: bool
    rows: int
    rejected_rows: int
    reasons: dict[str, int]
    errors: list[dict[str, Any]]
    full_report: str | None = None
    listed_errors: int = 0
    schema: str = field(default="ratesflow.report/1")

    def to_json(self) -> str:
        """Return the report as JSON that people can read."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)

    @property
    def summary(self) -> str:
        """One sentence for the ledger and the notification."""
        if self.accepted:
            return ""
        if not self.errors:
            return "refused"
        first = self.errors[0]
        where = f"line {first['line']}" + (f", {first['column']} {first['value']!r}" if first["column"] else "")
        return f"{self.rejected_rows:,} of {self.rows:,} rows refused; the first: {where}: {first['message']}"


@dataclass(frozen=True)
class ShardReport:
    """What one shard found. Lines are those of the file, or count from 0 where a later shard begins.

    `refused` says that the shard stopped reading, so that `rows` is not all of them. `first_line` is the number
    of the file's first row.
    """

    rows: int
    rejected_rows: int
    reasons: dict[str, int]
    errors: list[dict[str, Any]]
    listed_errors: int
    refused: bool
    first_line: int = 2


class ReportWriter:
    """Collects the problems of one shard in bounded memory; the full list goes to a temporary file on disk."""

    def __init__(self) -> None:
        self.rows = 0
        self.rejected_rows = 0
        self.reasons: Counter[str] = Counter()
        self.errors: list[dict[str, Any]] = []
        self.listed = 0
        self.refused = False
        self.first_line = 2
        self.expected_rows = 0  # how many there will be, where the file says so beforehand
        self._file: IO[str] | None = None
        self._write: Callable[[list[Any]], Any]

    def __enter__(self) -> "ReportWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)

    def count(self, rows: int) -> None:
        """Count rows that were read, good or bad."""
        self.rows += rows

    def refuse(self, line: int, problems: list[Problem]) -> None:
        """Note what is wrong with one row."""
        self.rejected_rows += 1
        for problem in problems:
            self._note(line, problem)

    def refuser(self, first_line: int) -> Callable[[int, list[Problem]], None]:
        """Return what notes the problems of the lines of a piece, which are counted from 0."""

        def refuse(at: int, problems: list[Problem]) -> None:
            self.refuse(first_line + at, problems)

        return refuse

    def refuse_file(self, error: RefusedFileError) -> None:
        """Note why nothing more of the file is read."""
        self.refused = True
        self._note(error.line, fault("", error.value, error.reason, str(error)))

    def _note(self, line: int, problem: Problem) -> None:
        self.reasons[problem.reason] += 1
        if len(self.errors) < FIRST_ERRORS:
            self.errors.append({"line": line, **asdict(problem)})
        if self.listed < LISTED_ERRORS:
            self.listed += 1
            if self._file is None:
                self._file = listing()
                self._write = csv.writer(self._file).writerow
            values = (problem.column, problem.value, problem.reason, problem.message)
            self._write([line, *map(harmless, values)])

    def full_report(self) -> Path | None:
        """Return the file with every problem, None if there was none."""
        if self._file is None:
            return None
        self._file.flush()
        return Path(self._file.name)

    def finish(self) -> ShardReport:
        """Return what was found."""
        return ShardReport(
            self.rows,
            self.rejected_rows,
            dict(self.reasons),
            self.errors,
            self.listed,
            self.refused,
            self.first_line,
        )


def listing() -> IO[str]:
    """Open a temporary file for a full list of problems, with its header; the caller removes it."""
    file = tempfile.NamedTemporaryFile(  # noqa: SIM115
        "w", encoding="utf-8", newline="", prefix="ratesflow-", suffix=".csv", delete=False
    )
    csv.writer(file).writerow(COLUMNS)
    return file


def readable(shards: list[ShardReport]) -> list[tuple[int, ShardReport]]:
    """Return the shards whose lines can be numbered, each with what is to be added to its line numbers.

    After a shard that stopped reading nobody knows how many lines went before.
    """
    found = []
    before = 0
    for number, shard in enumerate(shards):
        # The lines of the first shard are numbered already.
        found.append((before + shard.first_line if number else 0, shard))
        before += shard.rows
        if shard.refused:
            break
    return found


def merged(shards: list[ShardReport], full_report: str | None = None) -> ValidationReport:
    """Return the report of a batch from those of its shards, in order; `full_report` is where the list is."""
    numbered = readable(shards)
    reasons: Counter[str] = Counter()
    errors: list[dict[str, Any]] = []
    for base, shard in numbered:
        reasons.update(shard.reasons)
        errors += [{**error, "line": error["line"] + base} for error in shard.errors]
    rows = sum(shard.rows for _, shard in numbered)
    if not rows and not reasons:
        reasons["no_rows"] = 1
        first_line = numbered[0][1].first_line
        words = "there is a header, but no row after it" if first_line > 1 else "there is no row"
        errors = [{"line": first_line, **asdict(Problem("", "", "no_rows", words))}]
    return ValidationReport(
        accepted=not reasons,
        rows=rows,
        rejected_rows=sum(shard.rejected_rows for _, shard in numbered),
        reasons=dict(reasons.most_common()),
        errors=errors[:FIRST_ERRORS],
        full_report=full_report,
        listed_errors=sum(shard.listed_errors for _, shard in numbered),
    )


def harmless(value: Any) -> Any:
    """Return a value that no spreadsheet takes for a formula (OWASP, "CSV Injection")."""
    return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
