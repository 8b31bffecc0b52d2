"""Load: COPY the very bytes that were validated into the batch's staging table, and its rates beside them.

Nothing of it can be read yet: the batch is in no list of open batches, and the ledger still says open.
"""

import hashlib
import io
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import sql

from database.region_rates import rebuild_batch
from database.versions import hold_reference_version
from loader import metrics, objects, shards
from loader.batch import Batch
from loader.copying import ChangedError, Source, copied
from loader.digest import PartDigests, batch_digest
from loader.errors import ClosedError, TaskError
from loader.ledger import Entry, add_seconds, require_open
from loader.progress import Progress
from loader.results import Result
from loader.spans import Span, shard_span

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_COPY_PRICES = sql.SQL("COPY {table} ({columns}) FROM STDIN WITH (FORMAT csv, ENCODING 'UTF8')")
_COPY_RATES = "COPY rates (batch_no, month, orig_code, dest_code, counts, sums) FROM STDIN WITH (ENCODING 'UTF8')"


def load(connection: "Connection", batch: Batch) -> Result | None:
    """Stage the batch and attach its table to prices, hidden. Doing it again changes nothing.

    None means that other shards are still at work. Raises ClosedError when the batch is not open or its bytes
    are not those that were validated.
    """
    began = time.monotonic()
    with connection, connection.cursor() as cursor:
        # First of all, and without a lock: an earlier attempt that hangs may hold every lock that comes.
        entry = require_open(cursor, batch.batch_id)
        shards.announce(cursor, entry.batch_no, "load", batch.shard)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT stage_batch(%s)", (entry.batch_no,))
    with connection, connection.cursor() as cursor:
        entry = require_open(cursor, batch.batch_id, "FOR SHARE")
        if shards.claim(cursor, entry.batch_no, "load", batch.shard):
            _load_shard(cursor, batch, entry)
    with connection, connection.cursor() as cursor:
        # Without a lock, which would wait for the shards that still copy. Of the shards that are done last, at
        # least one sees all of them here.
        done = shards.done(cursor, entry.batch_no, "load")
        if len(done) < batch.shards:
            return None
        entry = require_open(cursor, batch.batch_id, "FOR UPDATE")
        cursor.execute("SELECT attach_batch(%s)", (entry.batch_no,))
        add_seconds(cursor, entry.batch_no, "load", time.monotonic() - began)
    return Result("load", batch.batch_id, "loaded", sum(shard["rows"] for shard in done), report=entry.report)


def _load_shard(cursor: "Cursor", batch: Batch, entry: Entry) -> None:
    validated = _validated(cursor, batch, entry)
    rows = _copy_prices(cursor, batch, entry, validated)
    _copy_rates(cursor, batch, entry, validated)
    shards.record(cursor, entry.batch_no, "load", batch.shard, rows, {})


def _validated(cursor: "Cursor", batch: Batch, entry: Entry) -> dict[str, Any]:
    found = shards.done(cursor, entry.batch_no, "validate")
    if len(found) != batch.shards or entry.digest is None:
        raise TaskError(
            f"batch {batch.batch_id} was validated in {len(found)} shards, not {batch.shards}: nothing to load"
        )
    parts = [bytes.fromhex(part) for shard in found for part in shard["digests"]]
    if batch_digest(parts) != entry.digest:
        raise ClosedError(f"the parts of {batch.url} that were validated do not make its digest")
    return found[batch.shard]


def _copy_prices(cursor: "Cursor", batch: Batch, entry: Entry, validated: dict[str, Any]) -> int:
    head = objects.head(batch)
    if head.bytes != entry.bytes:
        raise ClosedError(f"{batch.url} has another size than when it was validated: send the file again")
    source = _source(replace(batch, etag=head.etag), head.bytes, validated)
    digests = PartDigests(source.span.stop - source.span.start)
    metrics.note("Bytes", source.span.stop - source.span.start)
    statement = _COPY_PRICES.format(
        table=sql.Identifier(f"staging_{entry.batch_no}"),
        columns=sql.SQL(", ").join(map(sql.Identifier, validated["columns"])),
    )
    progress = Progress()
    stream = _Stream(copied(source, digests), progress, validated["rows"])
    try:
        cursor.copy_expert(statement, stream)
    except psycopg2.Error as error:
        # psycopg2 tells what went wrong in reading as an error of its own.
        if isinstance(stream.failure, ChangedError):
            raise ClosedError(f"{batch.url} is not what was validated: {stream.failure}") from error
        raise stream.failure or error from error
    rows = cursor.rowcount
    progress.finish(rows)
    if [digest.hex() for digest in digests.finish()] != validated["digests"]:
        raise ClosedError(f"the bytes of {batch.url} are not those that were validated: send the file again")
    if rows != validated["rows"]:
        raise TaskError(f"{rows:,} rows staged, but {validated['rows']:,} were validated")
    return rows


def _source(batch: Batch, size: int, validated: dict[str, Any]) -> Source:
    return Source(
        lambda start, stop: objects.parts(batch, start, stop),
        size,
        shard_span(size, batch.shard, batch.shards),
        validated["kind"],
        validated["gzipped"],
        validated["columns"],
        Span(validated["start"], validated["stop"]),
    )


def _copy_rates(cursor: "Cursor", batch: Batch, entry: Entry, validated: dict[str, Any]) -> None:
    data = objects.get(batch.bucket, validated["rates"])
    if hashlib.sha256(data).hexdigest() != validated["rates_sha256"]:
        raise ClosedError(f"the rates in s3://{batch.bucket}/{validated['rates']} are not those that were counted")
    cursor.copy_expert(_COPY_RATES, io.BytesIO(data))
    # From here to the commit of this transaction the tree of regions stands still; a change that waits for
    # it finds these rates, and builds those of its regions anew.
    if hold_reference_version(cursor) != entry.reference_version:
        rebuild_batch(cursor, entry.batch_no)


class _Stream(io.RawIOBase):
    """Parts as the file that COPY reads, without joining them; tells how many of the `expected` rows it gave."""

    def __init__(self, parts: Iterator[bytes], progress: Progress, expected: int) -> None:
        self._parts = parts
        self._progress, self._rows, self._expected = progress, 0, expected
        self._part = memoryview(b"")
        self.failure: Exception | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._part:
            try:
                part = next(self._parts)
                self._part = memoryview(part)
            except StopIteration:
                return b""
            except Exception as error:
                self.failure = error
                raise
            self._rows += part.count(b"\n")
            self._progress.tell(self._rows, self._rows / max(self._expected, 1))
        data, self._part = self._part[:size], self._part[size:]
        return bytes(data)
