"""The validation report: what was refused, where and why; the first hundred in JSON, all of it in CSV."""

import csv
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from ratesflow.loader.freight.schema import UNKNOWN_PORT, FileRejectedError, Violation, fault

FIRST_ERRORS = 100
# Beyond this many, problems are counted but no longer listed: the file is broken, not a line of it.
LISTED_ERRORS = 1_000_000
# Unknown ports that a report names, the most frequent first, and those that a shard counts at most.
NAMED_PORTS = 100
COUNTED_PORTS = 1000
COLUMNS = ("line", "column", "value", "reason", "message")


@dataclass(frozen=True)
class ValidationReport:
    """The report as it is stored. `reasons` counts problems; a row with two counts once in rejected_rows.

    `listed_errors` is how many of them the full report has: the first ones. `unknown_ports` counts the values.
    """

    accepted: bool
    rows: int
    rejected_rows: int
    reasons: dict[str, int]
    errors: list[dict[str, Any]]
    full_report: str | None = None
    listed_errors: int = 0
    unknown_ports: dict[str, int] = field(default_factory=dict)
    more_unknown_ports: int = 0
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
    of the file's first row. `empty_end` counts the empty lines after its last row, which are wrong (`empty_line`
    says in which way) if another shard has rows after them.
    """

    rows: int
    rejected_rows: int
    reasons: dict[str, int]
    errors: list[dict[str, Any]]
    listed_errors: int
    refused: bool
    first_line: int = 2
    empty_end: int = 0
    empty_line: dict[str, str] = field(default_factory=dict)
    unknown_ports: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class NumberedShard:
    """A shard whose lines can be numbered: `before` is to be added to their numbers.

    `empty` are the file's lines, empty and after the shard's last row, that are wrong.
    """

    report: ShardReport
    before: int
    empty: range


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
        self._unknown_ports: Counter[str] = Counter()
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
        """Count rows that were read, good or bad."""
        self.rows += rows

    def refuse(self, line: int, problems: list[Violation]) -> None:
        """Note what is wrong with one row."""
        self.rejected_rows += 1
        for problem in problems:
            self._note(line, problem)

    def refuse_run(self, first_line: int, lines: int, problem: Violation) -> None:
        """Count so many lines, one after another, that all have one problem; those are listed that still can be."""
        self.rows += lines
        self.rejected_rows += lines
        listed = min(lines, LISTED_ERRORS - self.listed)
        for at in range(listed):
            self._note(first_line + at, problem)
        if lines > listed:
            self.reasons[problem.reason] += lines - listed

    def pass_over(self, lines: int, problem: Violation) -> None:
        """Note the empty lines after the last row, and what is wrong with them if other rows follow."""
        self._empty_end = (lines, asdict(problem) if lines else {})

    def refuser(self, first_line: int) -> Callable[[int, list[Violation]], None]:
        """Return what notes the problems of the lines of a piece, which are counted from 0."""

        def refuse(at: int, problems: list[Violation]) -> None:
            self.refuse(first_line + at, problems)

        return refuse

    def refuse_file(self, error: FileRejectedError) -> None:
        """Note why nothing more of the file is read."""
        self.refused = True
        self._note(error.line, fault("", error.value, error.reason, str(error)))

    def _note(self, line: int, problem: Violation) -> None:
        self.reasons[problem.reason] += 1
        ports = self._unknown_ports
        if problem.reason == UNKNOWN_PORT and (problem.value in ports or len(ports) < COUNTED_PORTS):
            ports[problem.value] += 1
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
            *self._empty_end,
            dict(self._unknown_ports),
        )


def listing() -> IO[str]:
    """Open a temporary file for a full list of problems, with its header; the caller removes it."""
    file = tempfile.NamedTemporaryFile(  # noqa: SIM115
        "w", encoding="utf-8", newline="", prefix="ratesflow-", suffix=".csv", delete=False
    )
    csv.writer(file).writerow(COLUMNS)
    return file


def numbered(shards: list[ShardReport]) -> list[NumberedShard]:
    """Return the shards whose lines can be numbered, in order.

    After a shard that stopped reading nobody knows how many lines went before.
    """
    found = []
    before = 0
    last = max((number for number, shard in enumerate(shards) if shard.rows or shard.refused), default=0)
    for number, shard in enumerate(shards):
        first = before + shard.first_line  # of the shard's lines
        wrong = shard.empty_end if number < last else 0
        empty = range(first + shard.rows, first + shard.rows + wrong)
        # The lines of the first shard are numbered already.
        found.append(NumberedShard(shard, first if number else 0, empty))
        before += shard.rows + shard.empty_end
        if shard.refused:
            break
    return found


def merged(shards: list[ShardReport], full_report: str | None = None) -> ValidationReport:
    """Return the report of a batch from those of its shards, in order; `full_report` is where the list is."""
    reasons: Counter[str] = Counter()
    errors: list[dict[str, Any]] = []
    ports: Counter[str] = Counter()
    rows = rejected_rows = listed = 0
    for one in numbered(shards):
        shard, empty = one.report, len(one.empty)
        reasons.update(shard.reasons)
        ports.update(shard.unknown_ports)
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
    named = sorted(ports.items(), key=lambda item: (-item[1], item[0]))[:NAMED_PORTS]
    return ValidationReport(
        accepted=not reasons,
        rows=rows,
        rejected_rows=rejected_rows,
        reasons=dict(reasons.most_common()),
        errors=errors[:FIRST_ERRORS],
        full_report=full_report,
        listed_errors=min(listed, LISTED_ERRORS),
        unknown_ports=dict(named),
        more_unknown_ports=len(ports) - len(named),
    )


def _no_rows(first_line: int) -> dict[str, Any]:
    words = "there is a header, but no row after it" if first_line > 1 else "there is no row"
    return {"line": first_line, **asdict(Violation("", "", "no_rows", words))}


def harmless(value: Any) -> Any:
    """Return a value that no spreadsheet takes for a formula (OWASP, "CSV Injection")."""
    return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
