"""Load: COPY the very bytes that were validated into the batch's staging table, and its rates beside them.

Nothing of it can be read yet: the batch is in no list of open batches, and the ledger still says open.
"""

import hashlib
import time
from typing import TYPE_CHECKING, Any

import psycopg2

from ratesflow.database.lanes import mark_lanes
from ratesflow.database.lock_retries import retry_on_lock
from ratesflow.loader.batches import s3, shards
from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.batches.digest import batch_digest, watched_by
from ratesflow.loader.batches.ledger import Entry, add_seconds, note_hidden, require_open
from ratesflow.loader.batches.results import Result
from ratesflow.loader.files.csv_stream import COPY_RATES
from ratesflow.loader.files.streams import IteratorIO
from ratesflow.loader.runtime.errors import ClosedError, TaskError
from ratesflow.loader.tasks.copy_rows import copy_prices
from ratesflow.loader.tasks.registry import Limits, Task

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


def load(connection: "Connection", batch: Batch) -> Result | None:
    """Stage the batch and attach its table to prices, hidden. Doing it again changes nothing.

    None means that other shards are still at work. Raises ClosedError when the batch is not open or its bytes
    are not those that were validated.
    """
    began = time.monotonic()
    with connection, connection.cursor() as cursor:
        # First of all, and without a lock: an earlier attempt that hangs may hold every lock that comes.
        entry = require_open(cursor, batch.batch_id)
        shards.register_backend(cursor, entry.batch_no, "load", batch.shard)
    with connection, connection.cursor() as cursor:
        note_hidden(cursor, entry.batch_no)
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
    # Waits for ANALYZE or a merge of tables, which last minutes; nothing that was copied is lost meanwhile.
    entry = retry_on_lock(connection, lambda cursor: _attach(cursor, batch, time.monotonic() - began))
    return Result("load", batch.batch_id, "loaded", sum(shard["rows"] for shard in done), report=entry.report)


def _attach(cursor: "Cursor", batch: Batch, seconds: float) -> Entry:
    entry = require_open(cursor, batch.batch_id, "FOR UPDATE")
    mark_lanes(cursor, entry.batch_no)
    cursor.execute("SELECT attach_batch(%s)", (entry.batch_no,))
    add_seconds(cursor, entry.batch_no, "load", seconds)
    return entry


def _load_shard(cursor: "Cursor", batch: Batch, entry: Entry) -> None:
    validated = _validated(cursor, batch, entry)
    rows = copy_prices(cursor, batch, entry, validated)
    _copy_rates(cursor, batch, validated)
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


def _copy_rates(cursor: "Cursor", batch: Batch, validated: dict[str, Any]) -> None:
    sha256 = hashlib.sha256()
    stream = IteratorIO(watched_by(sha256, s3.blocks(batch.bucket, validated["rates"])))
    refused = None
    try:
        cursor.copy_expert(COPY_RATES, stream)
    except psycopg2.Error as error:
        if stream.failure:
            raise stream.failure from error
        refused = error
        stream.skip()  # whether it was the right bytes that the database refused is known at their end
    if sha256.hexdigest() != validated["rates_sha256"]:
        raise ClosedError(f"the rates in s3://{batch.bucket}/{validated['rates']} are not those that were counted")
    if refused:
        raise refused


TASK = Task(
    function=load,
    help="copy a validated batch into its staging table, hidden from readers",
    outcomes=("loaded",),
    counts=("rows",),
    limits=Limits(silence=300, statement=1200, session=3500),
    vcpus=1,
    memory_mib=2048,
    permissions=("read_batch", "read_results", "write_results"),
    sharded=True,
)
