"""Validate: read a batch once, check every row, derive its rates, and decide whether it may be loaded.

Each child of an array job checks one shard. The child that finds all shards done merges their results and decides.
"""

import hashlib
import time
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from ratesflow.database.reference import Reference
from ratesflow.loader.batches import s3, shards
from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.batches.byte_ranges import shard_range
from ratesflow.loader.batches.digest import watched_by
from ratesflow.loader.batches.ledger import FAILED, OPEN, Entry, add_seconds, find_entry, open_entry
from ratesflow.loader.batches.results import Result, closed_result
from ratesflow.loader.batches.shards import ClaimedShard
from ratesflow.loader.dataset import Dataset, ShardValidator
from ratesflow.loader.files.progress import Progress, watched
from ratesflow.loader.files.read_shard import ShardScan, read_shard
from ratesflow.loader.files.report import ReportWriter
from ratesflow.loader.runtime import metrics
from ratesflow.loader.runtime.errors import ClosedError
from ratesflow.loader.tasks.finalize import FULL_REPORT, finalize_validation
from ratesflow.loader.tasks.registry import Limits, Task

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812


def validate(connection: "Connection", batch: Batch, dataset: Dataset) -> Result | None:
    """Check the batch and close it as rejected or duplicate, or leave it open with its counts for the load.

    Return None while other shards are unfinished. An attempt after a finished one returns the same result.
    Raises ClosedError when the batch was closed as failed, or its object is gone.
    """
    began = time.monotonic()
    with connection, connection.cursor() as cursor:
        entry = open_entry(cursor, batch)
    if entry.state != OPEN:
        return _earlier_result(batch, entry)
    head = s3.head(batch)
    shard = ClaimedShard(connection, replace(batch, etag=head.etag), entry, "validate")
    if shard.start():
        _check_shard(shard, dataset, head.bytes)
    with connection, connection.cursor() as cursor:
        entry = find_entry(cursor, batch.batch_id, "FOR UPDATE") or entry
        if entry.state != OPEN:  # another shard, or another attempt, has merged all shards
            return _earlier_result(batch, entry)
        results = shards.done(cursor, entry.batch_no, "validate")
        if len(results) < batch.shards:
            return None
        add_seconds(cursor, entry.batch_no, "validate", time.monotonic() - began)
        return finalize_validation(cursor, batch, dataset, entry, head, results)


def _check_shard(shard: ClaimedShard, dataset: Dataset, size: int) -> None:
    """Read a shard and record its result, unless another attempt has done so or the batch was closed."""
    batch = shard.batch
    with shard.connection, shard.connection.cursor() as cursor:
        reference, reference_version = dataset.reference(cursor)
    validator = dataset.validator(reference)
    span = shard_range(size, batch.shard, batch.shards)
    metrics.note("Bytes", span.stop - span.start)
    with ReportWriter(dataset.schema) as writer:
        progress = Progress()
        fetch = watched(lambda start, stop: s3.parts(batch, start, stop), span, writer, progress)
        scan = read_shard(fetch, size, validator, writer, batch.shard, batch.shards)
        progress.finish(writer.rows)
        listed = _store_violations(batch, writer)
        report = writer.finish()
    result = {
        "report": asdict(report),
        "listed": listed,
        "reference_version": reference_version,
        "digests": [digest.hex() for digest in scan.digests],
    }
    if scan.file_format is not None and not report.reasons:
        result |= _store_derived(shard, scan, validator, reference)
    with suppress(ClosedError), shard.claimed() as (cursor, is_new):
        if is_new:
            shard.record(cursor, report.rows, result)


def _store_derived(
    shard: ClaimedShard, scan: ShardScan, validator: ShardValidator, reference: Reference
) -> dict[str, Any]:
    """Store the derived rows as text for COPY, so that the load only copies; return what the load needs."""
    assert scan.file_format is not None
    sha256 = hashlib.sha256()
    key = shard.batch.result_key(f"rates/{shard.batch.shard}.copy")
    lines = validator.derived_rows(shard.entry.batch_no, reference)
    s3.put(shard.batch.bucket, key, watched_by(sha256, lines), "text/plain")
    return {
        "kind": scan.file_format.kind,
        "gzipped": scan.file_format.gzipped,
        "columns": list(scan.file_format.header.columns),
        "start": scan.rows.start,
        "stop": scan.rows.stop,
        "mixed_ends": scan.mixed_ends,
        "rates": key,
        "rates_sha256": sha256.hexdigest(),
        "rates_digest": validator.digest,
    }


def _store_violations(batch: Batch, writer: ReportWriter) -> str | None:
    """Store the shard's list of violations; return its key, None if there were none."""
    path = writer.full_report()
    if path is None:
        return None
    key = batch.report_key(FULL_REPORT)
    if batch.shards > 1:
        key = batch.result_key(f"validate/{batch.shard}.errors.csv")
    s3.put(batch.bucket, key, path, "text/csv; charset=utf-8")
    return key


def _earlier_result(batch: Batch, entry: Entry) -> Result:
    if entry.state == FAILED:
        raise ClosedError(f"batch {batch.batch_id} was closed as failed: {entry.message}")
    return closed_result("validate", batch.batch_id, entry)


TASK = Task(
    function=validate,
    help="check every row of a batch, count its rates and write its report",
    outcomes=("accepted", "rejected", "duplicate", "committed", "undone"),
    ends={"rejected": "rejected", "duplicate": "duplicate"},
    counts=("rows", "rejected_rows"),
    limits=Limits(silence=300, statement=600),
    vcpus=1,
    memory_mib=2048,
    permissions=("read_batch", "read_results", "write_large_results", "write_reports"),
    sharded=True,
)
