"""Copies a shard's rows into the staging table; two connections copy a large shard, one half each.

A COPY uses one processor of the database, so two are nearly twice as fast. The second half has its own transaction
and its own claim, which records that it is staged. The shard is done when the transaction of the first half commits,
which counts both halves. So a later attempt copies neither half twice.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import sql

from ratesflow.loader.batches import s3
from ratesflow.loader.batches.batch import PART_BYTES, Batch
from ratesflow.loader.batches.byte_ranges import ByteRange, shard_range
from ratesflow.loader.batches.digest import PartDigests
from ratesflow.loader.batches.shards import ClaimedShard
from ratesflow.loader.dataset import MAX_LINE_BYTES, RowSchema
from ratesflow.loader.files.csv_stream import ChangedError, Source, csv_stream
from ratesflow.loader.files.detect import CSV
from ratesflow.loader.files.progress import Progress
from ratesflow.loader.files.streams import IteratorIO
from ratesflow.loader.runtime import metrics, watchdog
from ratesflow.loader.runtime.connection import connected
from ratesflow.loader.runtime.errors import ClosedError, TaskError, TransientError

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

# The name of the second half's task in the table `shards`.
SECOND_HALF = "load_second_half"
# One connection copies a shard of fewer parts.
MIN_PARTS = 3
_COPY_PRICES = sql.SQL("COPY {table} ({columns}) FROM STDIN WITH (FORMAT csv, ENCODING 'UTF8')")


def copy_prices(cursor: "Cursor", shard: ClaimedShard, schema: RowSchema, validated: dict[str, Any]) -> int:
    """Stage the rows of a shard in the transaction of its claim; return their number.

    Raises ClosedError when the bytes are not those that were validated, TaskError when rows are missing.
    """
    head = s3.head(shard.batch)
    if head.bytes != shard.entry.bytes:
        raise ClosedError(f"{shard.batch.url} has changed its size since it was validated: send the file again")
    shard = replace(shard, batch=replace(shard.batch, etag=head.etag))
    source = _source(shard.batch, head.bytes, schema, validated)
    metrics.note("Bytes", source.span.stop - source.span.start)
    halves = _halves(source, validated["digests"])
    progress = _SharedProgress(validated["rows"])
    if len(halves) == 1:
        rows = _copy(cursor, shard, *halves[0], progress)
    else:
        rows = _copy_both(cursor, shard, halves, progress)
    progress.finish(rows)
    if rows != validated["rows"]:
        raise TaskError(f"{rows:,} rows staged, but {validated['rows']:,} were validated")
    return rows


def _source(batch: Batch, size: int, schema: RowSchema, validated: dict[str, Any]) -> Source:
    return Source(
        lambda start, stop: s3.parts(batch, start, stop),
        size,
        schema,
        shard_range(size, batch.shard, batch.shards),
        validated["kind"],
        validated["gzipped"],
        validated["columns"],
        ByteRange(validated["start"], validated["stop"]),
        validated.get("mixed_ends", False),
    )


def _halves(source: Source, digests: list[str]) -> list[tuple[Source, list[str]]]:
    """Split a source of many parts at the first line end after its middle; return each half with its parts' digests."""
    if source.kind != CSV or source.gzipped or len(digests) < MIN_PARTS:
        return [(source, digests)]
    # The first half is the smaller one: its connection also copies the rates.
    parts = (len(digests) - 1) // 2
    middle = source.span.start + parts * PART_BYTES
    around = b"".join(source.fetch(middle - 1, min(middle + MAX_LINE_BYTES, source.size)))
    cut = min(middle - 1 + (around.find(b"\n") + 1 or len(around)), source.rows.stop)
    first = replace(source, span=ByteRange(source.span.start, middle), rows=ByteRange(source.rows.start, cut))
    second = replace(source, span=ByteRange(middle, source.span.stop), rows=ByteRange(cut, source.rows.stop))
    return [(first, digests[:parts]), (second, digests[parts:])]


def _copy_both(
    cursor: "Cursor", shard: ClaimedShard, halves: list[tuple[Source, list[str]]], progress: "_SharedProgress"
) -> int:
    with ThreadPoolExecutor(1, "second-half") as pool:
        other = pool.submit(_second_half, shard, *halves[1], progress)
        try:
            rows = _copy(cursor, shard, *halves[0], progress)
        except _OtherHalfError:
            with watchdog.suspended():
                other.result()  # raises its error
            raise
        except BaseException:
            progress.stop.set()
            raise
        with watchdog.suspended():
            return rows + other.result()


def _second_half(shard: ClaimedShard, source: Source, digests: list[str], progress: "_SharedProgress") -> int:
    """Stage the second half, unless an earlier attempt has; return its number of rows."""
    try:
        with watchdog.watched(), connected("load") as connection:
            half = replace(shard, connection=connection, task=SECOND_HALF)
            half.start()
            with half.claimed() as (cursor, is_new):
                if not is_new:
                    return half.rows(cursor)
                rows = _copy(cursor, half, source, digests, progress)
                half.record(cursor, rows)
                return rows
    except BaseException:
        progress.stop.set()
        raise


def _copy(
    cursor: "Cursor", shard: ClaimedShard, source: Source, expected: list[str], progress: "_SharedProgress"
) -> int:
    digests = PartDigests(source.span.stop - source.span.start)
    statement = _COPY_PRICES.format(
        table=sql.Identifier(f"staging_{shard.entry.batch_no}"),
        columns=sql.SQL(", ").join(map(sql.Identifier, source.columns)),
    )
    stream = IteratorIO(progress.watched(csv_stream(source, digests)))
    try:
        cursor.copy_expert(statement, stream)
    except psycopg2.Error as error:
        # psycopg2 raises an error of its own when reading fails.
        if isinstance(stream.failure, ChangedError):
            raise ClosedError(f"{shard.batch.url} differs from what was validated: {stream.failure}") from error
        raise stream.failure or error from error
    rows = cursor.rowcount
    if [digest.hex() for digest in digests.finish()] != expected:
        raise ClosedError(f"the bytes of {shard.batch.url} differ from those that were validated: send the file again")
    return rows


class _OtherHalfError(TransientError):
    """This half stopped because the other half failed. The other half's error is the one to raise."""


class _SharedProgress:
    """The rows that both halves have passed to COPY, and whether one half has failed (`stop`)."""

    def __init__(self, expected: int) -> None:
        self._expected, self._rows = expected, 0
        self._progress, self._lock, self.stop = Progress(), Lock(), Event()

    def watched(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the blocks unchanged and count their rows. Raises _OtherHalfError when the other half has failed."""
        for block in blocks:
            if self.stop.is_set():
                raise _OtherHalfError("the other half of the shard failed")
            with self._lock:
                self._rows += block.count(b"\n")
                self._progress.update(self._rows, self._rows / max(self._expected, 1))
            yield block

    def finish(self, rows: int) -> None:
        """Report that all rows are staged."""
        self._progress.finish(rows)
