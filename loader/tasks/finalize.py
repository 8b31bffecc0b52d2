"""Merges the results of a validation's shards: digest, totals, line numbers, report and ledger row.

Runs under the lock of the ledger row; running it again gives the same result.
"""

import csv
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratesflow.loader.batches import s3
from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.batches.digest import batch_digest
from ratesflow.loader.batches.ledger import (
    DUPLICATE,
    REJECTED,
    Entry,
    close_entry,
    duplicate_message,
    find_original,
    set_same_prices,
    update_entry,
)
from ratesflow.loader.batches.results import Result
from ratesflow.loader.batches.s3 import ObjectHead
from ratesflow.loader.dataset import Dataset
from ratesflow.loader.files.report import (
    COLUMNS,
    LISTED_ERRORS,
    NumberedShard,
    ShardReport,
    ValidationReport,
    listing,
    merged,
    numbered,
)

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

REPORT = "report.json"
FULL_REPORT = "errors.csv"


def finalize_validation(
    cursor: "Cursor", batch: Batch, dataset: Dataset, entry: Entry, head: ObjectHead, results: list[dict[str, Any]]
) -> Result:
    """Store the report; close the batch as duplicate or rejected, or store its counts for the load.

    `results` are the results of all shards, in order. The caller holds the lock of the ledger row.
    """
    reports = [ShardReport(**result["report"]) for result in results]
    report = merged(reports, dataset.schema, _full_report(batch, results, reports))
    key = batch.report_key(REPORT)
    s3.put(batch.bucket, key, report.to_json().encode(), "application/json")
    incomplete = any(shard.stopped for shard in reports)
    parts = [bytes.fromhex(part) for result in results for part in result["digests"]]
    rates_digests: list[Any] = [result.get("rates_digest") for result in results]
    facts = {
        "bytes": head.bytes,
        "forced": head.forced,
        "digest": None if incomplete else batch_digest(parts),
        "rates_digest": dataset.rollup.digest(rates_digests) if report.accepted and all(rates_digests) else None,
        "rows": report.rows,
        "rejected_rows": report.rejected_rows,
        "report": f"s3://{batch.bucket}/{key}",
        # The oldest version: the commit recomputes region rates if the tree has changed since.
        "reference_version": min(result["reference_version"] for result in results),
    }
    outcome, message = _decide(cursor, entry, report, facts)
    return Result("validate", batch.batch_id, outcome, report.rows, report.rejected_rows, facts["report"], message)


def _decide(cursor: "Cursor", entry: Entry, report: ValidationReport, facts: dict[str, Any]) -> tuple[str, str]:
    original = find_original(cursor, entry, digest=facts["digest"], forced=facts["forced"])
    if original:
        message = duplicate_message(original)
        close_entry(cursor, entry.batch_no, DUPLICATE, duplicate_of=original.batch_no, message=message, **facts)
        return DUPLICATE, message
    if not report.accepted:
        close_entry(cursor, entry.batch_no, REJECTED, message=report.summary, **facts)
        return REJECTED, report.summary
    update_entry(cursor, entry.batch_no, **facts)
    return "accepted", set_same_prices(cursor, entry.batch_no)


def _full_report(batch: Batch, results: list[dict[str, Any]], reports: list[ShardReport]) -> str | None:
    """Join the shards' lists of violations, with line numbers of the whole file; return the address of the list."""
    shards = numbered(reports)
    keys = [result["listed"] for result in results]
    if not any(keys) and not any(shard.empty for shard in shards):
        return None
    key = batch.report_key(FULL_REPORT)
    if batch.shards > 1:
        file = listing()
        try:
            lists = (_violations(batch, shard, key) for shard, key in zip(shards, keys, strict=False))
            csv.writer(file).writerows(islice(chain.from_iterable(lists), LISTED_ERRORS))
            file.close()
            s3.put(batch.bucket, key, Path(file.name), "text/csv; charset=utf-8")
        finally:
            Path(file.name).unlink(missing_ok=True)
    return f"s3://{batch.bucket}/{key}"


def _violations(batch: Batch, shard: NumberedShard, key: str | None) -> Iterator[list[Any]]:
    """Yield the rows of one shard's list, without its header, with line numbers of the whole file."""
    if key is not None:
        rows = csv.reader(s3.text_lines(batch.bucket, key))
        next(rows, None)
        for number, *rest in rows:
            yield [int(number) + shard.before, *rest]
    empty = shard.report.empty_line
    for line in shard.empty:
        yield [line, *(empty[column] for column in COLUMNS[1:])]
