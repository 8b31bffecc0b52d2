"""Validate: read a batch once, check every row, count its rates, and say whether it may be loaded."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from database.reference import Reference, stored
from loader import objects
from loader.batch import PART_BYTES, Batch
from loader.chunks import Checker, whole_lines
from loader.contract import MAX_LINE_BYTES
from loader.digest import batch_digest, watched
from loader.errors import ClosedError
from loader.header import Header, RefusedFileError, read_header
from loader.ledger import (
    DUPLICATE,
    FAILED,
    OPEN,
    REJECTED,
    Entry,
    add_seconds,
    close_entry,
    committed_twin,
    open_entry,
    require_open,
    update_entry,
)
from loader.rates import RateCounts, copy_rows, digest
from loader.report import ReportWriter, ValidationReport
from loader.results import Result
from loader.shards import announce, claim, record

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812


@dataclass(frozen=True)
class Reading:
    """What one pass over a batch found, beside the problems: None of it depends on the database."""

    header: Header | None
    digest: str | None
    counts: RateCounts


def read_batch(parts: Iterable[bytes], ports: Iterable[str], report: ReportWriter) -> Reading:
    """Check all parts of a file; problems go to `report`. Memory does not depend on the file's size.

    When the whole file is refused, the rest of it is not read, and there is no digest.
    """
    digests: list[bytes] = []
    counts = RateCounts()
    header: Header | None = None
    stream = iter(watched(parts, digests))
    try:
        first = next(stream, b"")
        header = read_header(first[: MAX_LINE_BYTES + 1])
        checker = Checker(header, ports)
        for line, data in whole_lines(_chain(first[header.bytes :], stream), first_line=2):
            checked = checker.check(data)
            report.count(checked.lines)
            counts.add(checked.good)
            for at in sorted(checked.problems):
                report.refuse(line + at, checked.problems[at])
        if not report.rows:
            raise RefusedFileError(2, "no_rows", "there is a header, but no row after it")
    except RefusedFileError as error:
        report.refuse_file(error)
        return Reading(header, None, counts)
    return Reading(header, batch_digest(digests), counts)


def _chain(first: bytes, rest: Iterable[bytes]) -> Iterable[bytes]:
    yield first
    yield from rest


def validate(connection: "Connection", batch: Batch) -> Result:
    """Check the batch and close it as rejected or duplicate, or leave it open with its counts for the load.

    An attempt that comes after one that finished gives that one's answer. Raises ClosedError when the batch
    was closed as failed, or its object is gone.
    """
    with connection, connection.cursor() as cursor:
        entry = open_entry(cursor, batch)
    if entry.state != OPEN:
        return _earlier_answer(batch, entry)
    with connection, connection.cursor() as cursor:
        announce(cursor, entry.batch_no, "validate", batch.shard)
        reference, reference_version = stored(cursor)
    began = time.monotonic()
    head = objects.head(batch)
    ports = sorted(reference.ports)
    with ReportWriter() as writer:
        reading = read_batch(objects.parts(batch, 0, head.bytes), ports, writer)
        report, address = _store_report(batch, writer)
    facts = {
        "bytes": head.bytes,
        "forced": head.forced,
        "digest": reading.digest,
        "rows": report.rows,
        "rejected_rows": report.rejected_rows,
        "report": address,
        "reference_version": reference_version,
    }
    shard = _store_rates(batch, entry, reading, ports, reference) if report.accepted else {}
    with connection, connection.cursor() as cursor:
        entry = require_open(cursor, batch.batch_id, "FOR UPDATE")
        claim(cursor, entry.batch_no, "validate", batch.shard)
        record(cursor, entry.batch_no, "validate", batch.shard, report.rows, shard)
        add_seconds(cursor, entry.batch_no, "validate", time.monotonic() - began)
        outcome, message = _decide(cursor, entry, report, facts)
    return Result("validate", batch.batch_id, outcome, report.rows, report.rejected_rows, address, message)


def _decide(cursor: Any, entry: Entry, report: ValidationReport, facts: dict[str, Any]) -> tuple[str, str]:
    twin = None if facts["forced"] else committed_twin(cursor, entry, facts["digest"])
    if twin:
        message = f"the same bytes were committed already, by batch {twin[1]}"
        close_entry(cursor, entry.batch_no, DUPLICATE, duplicate_of=twin[0], message=message, **facts)
        return DUPLICATE, message
    if not report.accepted:
        close_entry(cursor, entry.batch_no, REJECTED, message=report.summary, **facts)
        return REJECTED, report.summary
    update_entry(cursor, entry.batch_no, **facts)
    return "accepted", ""


def _earlier_answer(batch: Batch, entry: Entry) -> Result:
    if entry.state == FAILED:
        raise ClosedError(f"batch {batch.batch_id} was closed as failed: {entry.message}")
    message = entry.message or ""
    return Result("validate", batch.batch_id, entry.state, entry.rows, entry.rejected_rows, entry.report, message)


def _store_report(batch: Batch, writer: ReportWriter) -> tuple[ValidationReport, str]:
    full = writer.full_report()
    where = None
    if full is not None:
        key = batch.report_key("errors.csv")
        objects.put_file(batch.bucket, key, full, "text/csv; charset=utf-8")
        where = f"s3://{batch.bucket}/{key}"
    report = writer.finish(where)
    key = batch.report_key("report.json")
    objects.put(batch.bucket, key, report.to_json().encode(), "application/json")
    return report, f"s3://{batch.bucket}/{key}"


def _store_rates(
    batch: Batch, entry: Entry, reading: Reading, ports: list[str], reference: Reference
) -> dict[str, Any]:
    """Store the rates ready for COPY, so that the load needs no arithmetic; return what it must know."""
    assert reading.header is not None
    data, sha256 = digest(copy_rows(reading.counts, entry.batch_no, ports, reference))
    key = batch.result_key(f"rates/{batch.shard}.copy")
    objects.put(batch.bucket, key, data, "text/plain")
    return {
        "columns": list(reading.header.columns),
        "offset": reading.header.bytes,
        "rates": key,
        "rates_sha256": sha256,
    }


def validate_file(path: Path, reference: Reference) -> ValidationReport:
    """Check a local file as its batch would be checked. Raises OSError when it cannot be read."""
    with ReportWriter() as writer, path.open("rb") as file:
        read_batch(iter(lambda: file.read(PART_BYTES), b""), sorted(reference.ports), writer)
        return writer.finish()
