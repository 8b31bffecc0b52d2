"""The validation report: rejected rows and reasons; the first hundred violations in JSON, all in CSV."""

import csv
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from ratesflow.loader.dataset import FileRejectedError, Reject, RowSchema, Violation, violation

FIRST_ERRORS = 100
# Further violations are counted but not listed.
LISTED_ERRORS = 1_000_000
# The most unknown codes that a report names, most frequent first, and that a shard counts.
NAMED_CODES = 100
COUNTED_CODES = 1000
COLUMNS = ("line", "column", "value", "reason", "message")


@dataclass(frozen=True)
class ValidationReport:
    """The report as it is stored. `reasons` counts violations; a row with two counts once in `rejected_rows`.

    `listed_errors` is the number of violations in the full report, which has the first LISTED_ERRORS. `unknown_codes`
    has the entries of the report that the dataset's UnknownCodes names.
    """

    accepted: bool
    rows: int
    rejected_rows: int
    reasons: dict[str, int]
    errors: list[dict[str, Any]]
    full_report: str | None = None
    listed_errors: int = 0
    unknown_codes: dict[str, Any] = field(default_factory=dict)
    schema: str = field(default="ratesflow.report/1")

    def to_json(self) -> str:
        """Return the report as indented JSON."""
        entries = asdict(self)
        entries |= entries.pop("unknown_codes") | {"schema": entries.pop("schema")}
        return json.dumps(entries, ensure_ascii=False, indent=2)

    @property
    def summary(self) -> str:
        """One sentence for the ledger and the notification."""
        if self.accepted:
            return ""
        if not self.errors:
            return "rejected"
        first = self.errors[0]
        where = f"line {first['line']}" + (f", {first['column']} {first['value']!r}" if first["column"] else "")
        if not self.rows:  # the header, or the file as a whole
            return f"{where}: {first['message']}"
        return f"{self.rejected_rows:,} of {self.rows:,} rows rejected; the first: {where}: {first['message']}"


@dataclass(frozen=True)
class ShardReport:
    """The result of one shard. Line numbers are those of the file in the first shard, and count from 0 in later ones.

    `stopped`: the shard stopped reading early, so `rows` does not count all of them. `first_line` is the number of
    the file's first row. `empty_end` counts the empty lines after its last row; each is a violation (`empty_line`) if
    another shard has rows after them.
    """

    rows: int
    rejected_rows: int
    reasons: dict[str, int]
    errors: list[dict[str, Any]]
    listed_errors: int
    stopped: bool
    first_line: int = 2
    empty_end: int = 0
    empty_line: dict[str, str] = field(default_factory=dict)
    unknown_codes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class NumberedShard:
    """A shard report and what to add to its line numbers (`before`).

    `empty` are the line numbers of the empty lines after the shard's last row that are violations.
    """

    report: ShardReport
    before: int
    empty: range


class ReportWriter:
    """Collects the violations of one shard in bounded memory; the full list goes to a temporary file."""

    def __init__(self, schema: RowSchema) -> None:
        self.rows = 0
        self.rejected_rows = 0
        self.reasons: Counter[str] = Counter()
        self.errors: list[dict[str, Any]] = []
        self.listed = 0
        self.stopped = False
        self.first_line = 2
        self.expected_rows = 0  # if the file states it
        self._unknown_reason = schema.unknown_codes.reason
        self._unknown_codes: Counter[str] = Counter()
        self._empty_end: tuple[int, dict[str, str]] = (0, {})
        self._file: IO[str] | None = None
        self._write: Callable[[list[Any]], Any]

    def __enter__(self) -> "ReportWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)

    def count(self, rows: int) -> None:
        """Count rows that were read, valid or not."""
        self.rows += rows

    def reject(self, line: int, violations: list[Violation]) -> None:
        """Report the violations of one row."""
        self.rejected_rows += 1
        for each in violations:
            self._add(line, each)

    def reject_lines(self, first_line: int, lines: int, wrong: Violation) -> None:
        """Report consecutive lines with the same violation."""
        self.rows += lines
        self.rejected_rows += lines
        listed = min(lines, LISTED_ERRORS - self.listed)
        for at in range(listed):
            self._add(first_line + at, wrong)
        if lines > listed:
            self.reasons[wrong.reason] += lines - listed

    def skip(self, lines: int, wrong: Violation) -> None:
        """Count the empty lines after the last row; each has this violation if a later shard has rows."""
        self._empty_end = (lines, asdict(wrong) if lines else {})

    def reject_from(self, first_line: int) -> Reject:
        """Return a function that reports the violations of the rows of a piece that begins at `first_line`."""

        def reject(at: int, violations: list[Violation]) -> None:
            self.reject(first_line + at, violations)

        return reject

    def reject_file(self, error: FileRejectedError) -> None:
        """Report the reason why reading stops."""
        self.stopped = True
        self._add(error.line, violation("", error.value, error.reason, str(error)))

    def _add(self, line: int, wrong: Violation) -> None:
        self.reasons[wrong.reason] += 1
        codes = self._unknown_codes
        if wrong.reason == self._unknown_reason and (wrong.value in codes or len(codes) < COUNTED_CODES):
            codes[wrong.value] += 1
        if len(self.errors) < FIRST_ERRORS:
            self.errors.append({"line": line, **asdict(wrong)})
        if self.listed < LISTED_ERRORS:
            self.listed += 1
            if self._file is None:
                self._file = listing()
                self._write = csv.writer(self._file).writerow
            values = (wrong.column, wrong.value, wrong.reason, wrong.message)
            self._write([line, *map(escape_formula, values)])

    def full_report(self) -> Path | None:
        """Return the file with all violations, None if there were none."""
        if self._file is None:
            return None
        self._file.flush()
        return Path(self._file.name)

    def finish(self) -> ShardReport:
        """Return the shard's report."""
        return ShardReport(
            self.rows,
            self.rejected_rows,
            dict(self.reasons),
            self.errors,
            self.listed,
            self.stopped,
            self.first_line,
            *self._empty_end,
            dict(self._unknown_codes),
        )


def listing() -> IO[str]:
    """Open a temporary file for a full list of violations, with its header; the caller removes it."""
    file = tempfile.NamedTemporaryFile(  # noqa: SIM115
        "w", encoding="utf-8", newline="", prefix="ratesflow-", suffix=".csv", delete=False
    )
    csv.writer(file).writerow(COLUMNS)
    return file


def numbered(shards: list[ShardReport]) -> list[NumberedShard]:
    """Return the shards whose lines can be numbered, in order: up to the first that stopped early."""
    found = []
    before = 0
    last = max((number for number, shard in enumerate(shards) if shard.rows or shard.stopped), default=0)
    for number, shard in enumerate(shards):
        first = before + shard.first_line  # of the shard's lines
        wrong = shard.empty_end if number < last else 0
        empty = range(first + shard.rows, first + shard.rows + wrong)
        # The lines of the first shard are numbered already.
        found.append(NumberedShard(shard, first if number else 0, empty))
        before += shard.rows + shard.empty_end
        if shard.stopped:
            break
    return found


def merged(shards: list[ShardReport], schema: RowSchema, full_report: str | None = None) -> ValidationReport:
    """Return the report of a batch from those of its shards, in order; `full_report` is the address of the list."""
    reasons: Counter[str] = Counter()
    errors: list[dict[str, Any]] = []
    codes: Counter[str] = Counter()
    rows = rejected_rows = listed = 0
    for one in numbered(shards):
        shard, empty = one.report, len(one.empty)
        reasons.update(shard.reasons)
        codes.update(shard.unknown_codes)
        errors += [{**error, "line": error["line"] + one.before} for error in shard.errors]
        if empty:
            reasons[shard.empty_line["reason"]] += empty
            errors += [{"line": line, **shard.empty_line} for line in one.empty[:FIRST_ERRORS]]
        rows += shard.rows + empty
        rejected_rows += shard.rejected_rows + empty
        listed += shard.listed_errors + empty
    if not rows and not reasons:
        reasons["no_rows"] = 1
        errors = [_no_rows(shards[0].first_line)]
    return ValidationReport(
        accepted=not reasons,
        rows=rows,
        rejected_rows=rejected_rows,
        reasons=dict(reasons.most_common()),
        errors=errors[:FIRST_ERRORS],
        full_report=full_report,
        listed_errors=min(listed, LISTED_ERRORS),
        unknown_codes=_unknown_codes(codes, schema),
    )


def _unknown_codes(codes: Counter[str], schema: RowSchema) -> dict[str, Any]:
    named = sorted(codes.items(), key=lambda item: (-item[1], item[0]))[:NAMED_CODES]
    return {schema.unknown_codes.counts: dict(named), schema.unknown_codes.others: len(codes) - len(named)}


def _no_rows(first_line: int) -> dict[str, Any]:
    message = "there are no rows after the header" if first_line > 1 else "there are no rows"
    return {"line": first_line, **asdict(Violation("", "", "no_rows", message))}


def escape_formula(value: Any) -> Any:
    """Return a value, after an apostrophe if a spreadsheet would interpret it as a formula (OWASP, "CSV Injection")."""
    return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
