"""COPY of a shard's prices into the staging table; a large shard goes by two connections, a half by each.

COPY keeps one processor of the database busy, so two are nearly twice as fast. The second half has a
transaction and a claim of its own, which says that it is staged; the shard is done only when the first half's
transaction commits, which counts both. So an attempt that is repeated copies no half twice.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import sql

from ratesflow.loader.batches import s3, shards
from ratesflow.loader.batches.batch import PART_BYTES, Batch
from ratesflow.loader.batches.byte_ranges import ByteRange, shard_range
from ratesflow.loader.batches.digest import PartDigests
from ratesflow.loader.batches.ledger import Entry, require_open
from ratesflow.loader.files.csv_stream import ChangedError, Source, copied
from ratesflow.loader.files.detect import CSV
from ratesflow.loader.files.progress import Progress
from ratesflow.loader.files.streams import IteratorIO
from ratesflow.loader.freight.schema import MAX_LINE_BYTES
from ratesflow.loader.runtime import metrics, watchdog
from ratesflow.loader.runtime.connection import connected
from ratesflow.loader.runtime.errors import ClosedError, TaskError, TransientError

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

# What the second half is called in the table of shards.
SECOND_HALF = "load_second_half"
# A shard of fewer parts is not worth another connection.
LEAST_PARTS = 3
_COPY_PRICES = sql.SQL("COPY {table} ({columns}) FROM STDIN WITH (FORMAT csv, ENCODING 'UTF8')")


def copy_prices(cursor: "Cursor", batch: Batch, entry: Entry, validated: dict[str, Any]) -> int:
    """Stage the prices of a shard, with the shard's claim in the cursor's transaction; return how many there are.

    Raises ClosedError when the bytes are not those that were validated, TaskError when rows are missing.
    """
    head = s3.head(batch)
    if head.bytes != entry.bytes:
        raise ClosedError(f"{batch.url} has another size than when it was validated: send the file again")
    batch = replace(batch, etag=head.etag)
    source = _source(batch, head.bytes, validated)
    metrics.note("Bytes", source.span.stop - source.span.start)
    halves = _halves(source, validated["digests"])
    progress = _Rows(validated["rows"])
    if len(halves) == 1:
        rows = _copy(cursor, batch, entry, *halves[0], progress)
    else:
        rows = _copy_both(cursor, batch, entry, halves, progress)
    progress.finish(rows)
    if rows != validated["rows"]:
        raise TaskError(f"{rows:,} rows staged, but {validated['rows']:,} were validated")
    return rows


def _source(batch: Batch, size: int, validated: dict[str, Any]) -> Source:
    return Source(
        lambda start, stop: s3.parts(batch, start, stop),
        size,
        shard_range(size, batch.shard, batch.shards),
        validated["kind"],
        validated["gzipped"],
        validated["columns"],
        ByteRange(validated["start"], validated["stop"]),
        validated.get("mixed_ends", False),
    )


def _halves(source: Source, digests: list[str]) -> list[tuple[Source, list[str]]]:
    """Cut a source of many parts at the line end after the middle; each half has the digests of its parts."""
    if source.kind != CSV or source.gzipped or len(digests) < LEAST_PARTS:
        return [(source, digests)]
    # The first half is the smaller one: its connection copies the rates too.
    parts = (len(digests) - 1) // 2
    middle = source.span.start + parts * PART_BYTES
    around = b"".join(source.fetch(middle - 1, min(middle + MAX_LINE_BYTES, source.size)))
    cut = min(middle - 1 + (around.find(b"\n") + 1 or len(around)), source.rows.stop)
    first = replace(source, span=ByteRange(source.span.start, middle), rows=ByteRange(source.rows.start, cut))
    second = replace(source, span=ByteRange(middle, source.span.stop), rows=ByteRange(cut, source.rows.stop))
    return [(first, digests[:parts]), (second, digests[parts:])]


def _copy_both(
    cursor: "Cursor", batch: Batch, entry: Entry, halves: list[tuple[Source, list[str]]], progress: "_Rows"
) -> int:
    with ThreadPoolExecutor(1, "second-half") as pool:
        other = pool.submit(_second_half, batch, entry, *halves[1], progress)
        try:
            rows = _copy(cursor, batch, entry, *halves[0], progress)
        except _OtherHalfError:
            with watchdog.excused():
                other.result()  # raises the reason
            raise
        except BaseException:
            progress.stop.set()
            raise
        with watchdog.excused():
            return rows + other.result()


def _second_half(batch: Batch, entry: Entry, source: Source, digests: list[str], progress: "_Rows") -> int:
    """Stage the second half, unless an earlier attempt has; return how many rows it has."""
    try:
        with watchdog.joined(), connected("load") as connection:
            with connection, connection.cursor() as cursor:
                shards.register_backend(cursor, entry.batch_no, SECOND_HALF, batch.shard)
            with connection, connection.cursor() as cursor:
                require_open(cursor, batch.batch_id, "FOR SHARE")
                if shards.claim(cursor, entry.batch_no, SECOND_HALF, batch.shard):
                    rows = _copy(cursor, batch, entry, source, digests, progress)
                    shards.record(cursor, entry.batch_no, SECOND_HALF, batch.shard, rows, {})
                    return rows
                return shards.rows(cursor, entry.batch_no, SECOND_HALF, batch.shard)
    except BaseException:
        progress.stop.set()
        raise


def _copy(cursor: "Cursor", batch: Batch, entry: Entry, source: Source, expected: list[str], progress: "_Rows") -> int:
    digests = PartDigests(source.span.stop - source.span.start)
    statement = _COPY_PRICES.format(
        table=sql.Identifier(f"staging_{entry.batch_no}"),
        columns=sql.SQL(", ").join(map(sql.Identifier, source.columns)),
    )
    stream = IteratorIO(progress.watched(copied(source, digests)))
    try:
        cursor.copy_expert(statement, stream)
    except psycopg2.Error as error:
        # psycopg2 tells what went wrong in reading as an error of its own.
        if isinstance(stream.failure, ChangedError):
            raise ClosedError(f"{batch.url} is not what was validated: {stream.failure}") from error
        raise stream.failure or error from error
    rows = cursor.rowcount
    if [digest.hex() for digest in digests.finish()] != expected:
        raise ClosedError(f"the bytes of {batch.url} are not those that were validated: send the file again")
    return rows


class _OtherHalfError(TransientError):
    """This half stopped because the other one failed, whose reason is the one that counts."""


class _Rows:
    """How many rows both halves have given to COPY, of how many; and whether one of them failed."""

    def __init__(self, expected: int) -> None:
        self._expected, self._rows = expected, 0
        self._progress, self._lock, self.stop = Progress(), Lock(), Event()

    def watched(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Pass blocks on and count their rows. Raises _OtherHalfError when the other half has failed."""
        for block in blocks:
            if self.stop.is_set():
                raise _OtherHalfError("the other half of the shard was not loaded")
            with self._lock:
                self._rows += block.count(b"\n")
                self._progress.tell(self._rows, self._rows / max(self._expected, 1))
            yield block

    def finish(self, rows: int) -> None:
        """Tell that all rows are staged."""
        self._progress.finish(rows)
