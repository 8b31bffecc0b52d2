"""Load: COPY the very bytes that were validated into the batch's staging table, and its rates beside them.

Nothing of it can be read yet: the batch is in no list of open batches, and the ledger still says open.
"""

import hashlib
import io
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from psycopg2 import sql

from database.region_rates import rebuild_batch
from database.versions import hold_reference_version
from loader import objects, shards
from loader.batch import Batch
from loader.digest import batch_digest, watched
from loader.errors import ClosedError, TaskError
from loader.ledger import Entry, add_seconds, require_open
from loader.results import Result

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_COPY_PRICES = sql.SQL("COPY {table} ({columns}) FROM STDIN WITH (FORMAT csv, ENCODING 'UTF8')")
_COPY_RATES = "COPY rates (batch_no, month, orig_code, dest_code, counts, sums) FROM STDIN WITH (ENCODING 'UTF8')"


def load(connection: "Connection", batch: Batch) -> Result:
    """Stage the batch and attach its table to prices, hidden. Doing it again changes nothing.

    Raises ClosedError when the batch is not open or its bytes are not those that were validated.
    """
    began = time.monotonic()
    with connection, connection.cursor() as cursor:
        entry = require_open(cursor, batch.batch_id, "FOR UPDATE")
        cursor.execute("SELECT stage_batch(%s)", (entry.batch_no,))
    with connection, connection.cursor() as cursor:
        shards.announce(cursor, entry.batch_no, "load", batch.shard)
    with connection, connection.cursor() as cursor:
        entry = require_open(cursor, batch.batch_id, "FOR SHARE")
        if shards.claim(cursor, entry.batch_no, "load", batch.shard):
            _load_shard(cursor, batch, entry)
    with connection, connection.cursor() as cursor:
        entry = require_open(cursor, batch.batch_id, "FOR UPDATE")
        rows = sum(shard["rows"] for shard in shards.done(cursor, entry.batch_no, "load"))
        cursor.execute("SELECT attach_batch(%s)", (entry.batch_no,))
        add_seconds(cursor, entry.batch_no, "load", time.monotonic() - began)
    return Result("load", batch.batch_id, "loaded", rows, report=entry.report)


def _load_shard(cursor: "Cursor", batch: Batch, entry: Entry) -> None:
    validated = _validated(cursor, batch, entry)
    rows = _copy_prices(cursor, batch, entry, validated)
    _copy_rates(cursor, batch, entry, validated)
    shards.record(cursor, entry.batch_no, "load", batch.shard, rows, {})


def _validated(cursor: "Cursor", batch: Batch, entry: Entry) -> dict[str, Any]:
    found = shards.done(cursor, entry.batch_no, "validate")
    if not found:
        raise TaskError(f"batch {batch.batch_id} was not validated, so there is nothing to load")
    return found[batch.shard]


def _copy_prices(cursor: "Cursor", batch: Batch, entry: Entry, validated: dict[str, Any]) -> int:
    digests: list[bytes] = []
    parts = watched(objects.parts(batch, 0, objects.head(batch).bytes), digests)
    statement = _COPY_PRICES.format(
        table=sql.Identifier(f"staging_{entry.batch_no}"),
        columns=sql.SQL(", ").join(map(sql.Identifier, validated["columns"])),
    )
    cursor.copy_expert(statement, _Stream(_after(parts, validated["offset"])))
    rows = cursor.rowcount
    if batch_digest(digests) != entry.digest:
        raise ClosedError(f"the bytes of {batch.url} are not those that were validated: send the file again")
    if rows != validated["rows"]:
        raise TaskError(f"{rows:,} rows staged, but {validated['rows']:,} were validated")
    return rows


def _copy_rates(cursor: "Cursor", batch: Batch, entry: Entry, validated: dict[str, Any]) -> None:
    data = objects.get(batch.bucket, validated["rates"])
    if hashlib.sha256(data).hexdigest() != validated["rates_sha256"]:
        raise ClosedError(f"the rates in s3://{batch.bucket}/{validated['rates']} are not those that were counted")
    cursor.copy_expert(_COPY_RATES, io.BytesIO(data))
    # From here to the commit of this transaction the tree of regions stands still; a change that waits for
    # it finds these rates, and builds those of its regions anew.
    if hold_reference_version(cursor) != entry.reference_version:
        rebuild_batch(cursor, entry.batch_no)


def _after(parts: Iterator[bytes], offset: int) -> Iterator[bytes]:
    """Leave out the first `offset` bytes, the header; it is shorter than a part."""
    yield next(parts, b"")[offset:]
    yield from parts


class _Stream(io.RawIOBase):
    """Parts as the file that COPY reads, without joining them."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._part = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._part:
            part = next(self._parts, None)
            if part is None:
                return b""
            self._part = memoryview(part)
        data, self._part = self._part[:size], self._part[size:]
        return bytes(data)
