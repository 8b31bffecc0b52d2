"""Validate: read a batch once, check every row, count its rates, and say whether it may be loaded.

An array job's children each do a shard; whichever finds that all are done merges them and decides.
"""

import hashlib
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from ratesflow.database.reference import Reference, stored
from ratesflow.loader.batches import s3, shards
from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.batches.byte_ranges import shard_range
from ratesflow.loader.batches.digest import watched_by
from ratesflow.loader.batches.ledger import FAILED, OPEN, Entry, add_seconds, find_entry, open_entry
from ratesflow.loader.batches.results import Result
from ratesflow.loader.files.progress import Progress, watched
from ratesflow.loader.files.read_shard import ShardScan, read_shard
from ratesflow.loader.files.report import ReportWriter, ShardReport
from ratesflow.loader.freight.rates import copy_rows
from ratesflow.loader.freight.rates_digest import RatesDigest
from ratesflow.loader.runtime import metrics
from ratesflow.loader.runtime.errors import ClosedError
from ratesflow.loader.tasks import finalize
from ratesflow.loader.tasks.registry import Limits, Task

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812


def validate(connection: "Connection", batch: Batch) -> Result | None:
    """Check the batch and close it as rejected or duplicate, or leave it open with its counts for the load.

    None means that other shards are still at work. An attempt that comes after one that finished gives that
    one's answer. Raises ClosedError when the batch was closed as failed, or its object is gone.
    """
    began = time.monotonic()
    with connection, connection.cursor() as cursor:
        entry = open_entry(cursor, batch)
    if entry.state != OPEN:
        return _earlier_answer(batch, entry)
    head = s3.head(batch)
    with connection, connection.cursor() as cursor:
        shards.register_backend(cursor, entry.batch_no, "validate", batch.shard)
        todo = not shards.is_done(cursor, entry.batch_no, "validate", batch.shard)
    if todo:
        _check_shard(connection, replace(batch, etag=head.etag), entry, head.bytes)
    with connection, connection.cursor() as cursor:
        entry = find_entry(cursor, batch.batch_id, "FOR UPDATE") or entry
        if entry.state != OPEN:  # another shard, or another attempt, merged all of them in the meantime
            return _earlier_answer(batch, entry)
        results = shards.done(cursor, entry.batch_no, "validate")
        if len(results) < batch.shards:
            return None
        add_seconds(cursor, entry.batch_no, "validate", time.monotonic() - began)
        return finalize.decide(cursor, batch, entry, head, results)


def _check_shard(connection: "Connection", batch: Batch, entry: Entry, size: int) -> None:
    """Read a shard and record what it found, unless another attempt was faster."""
    with connection, connection.cursor() as cursor:
        reference, reference_version = stored(cursor)
    ports = sorted(reference.ports)
    span = shard_range(size, batch.shard, batch.shards)
    metrics.note("Bytes", span.stop - span.start)
    with ReportWriter() as writer:
        progress = Progress()
        fetch = watched(lambda start, stop: s3.parts(batch, start, stop), span, writer, progress)
        reading = read_shard(fetch, size, ports, writer, batch.shard, batch.shards)
        progress.finish(writer.rows)
        listed = _store_list(batch, writer)
        report = writer.finish()
    result = {
        "report": asdict(report),
        "listed": listed,
        "reference_version": reference_version,
        **_facts(batch, entry, reading, report, ports, reference),
    }
    with connection, connection.cursor() as cursor:
        found = find_entry(cursor, batch.batch_id, "FOR SHARE")
        still_open = found is not None and found.state == OPEN
        if still_open and shards.claim(cursor, entry.batch_no, "validate", batch.shard):
            shards.record(cursor, entry.batch_no, "validate", batch.shard, report.rows, result)


def _facts(
    batch: Batch, entry: Entry, reading: ShardScan, report: ShardReport, ports: list[str], reference: Reference
) -> dict[str, Any]:
    """Store the rates ready for COPY, so that the load needs no arithmetic; return what it must know."""
    digests = [digest.hex() for digest in reading.digests]
    if reading.layout is None or report.reasons:
        return {"digests": digests}
    sha256 = hashlib.sha256()
    key = batch.result_key(f"rates/{batch.shard}.copy")
    rates_digest = RatesDigest(ports)
    lines = copy_rows(rates_digest.watched(reading.counts.read()), entry.batch_no, ports, reference)
    s3.put(batch.bucket, key, watched_by(sha256, lines), "text/plain")
    return {
        "digests": digests,
        "kind": reading.layout.kind,
        "gzipped": reading.layout.gzipped,
        "columns": list(reading.layout.header.columns),
        "start": reading.rows.start,
        "stop": reading.rows.stop,
        "mixed_ends": reading.mixed_ends,
        "rates": key,
        "rates_sha256": sha256.hexdigest(),
        "rates_digest": rates_digest.words,
    }


def _store_list(batch: Batch, writer: ReportWriter) -> str | None:
    """Store the shard's list of problems; return its key, None if there were none."""
    path = writer.full_report()
    if path is None:
        return None
    key = batch.report_key(finalize.FULL_REPORT)
    if batch.shards > 1:
        key = batch.result_key(f"validate/{batch.shard}.errors.csv")
    s3.put(batch.bucket, key, path, "text/csv; charset=utf-8")
    return key


def _earlier_answer(batch: Batch, entry: Entry) -> Result:
    if entry.state == FAILED:
        raise ClosedError(f"batch {batch.batch_id} was closed as failed: {entry.message}")
    message = entry.message or ""
    return Result("validate", batch.batch_id, entry.state, entry.rows, entry.rejected_rows, entry.report, message)


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
