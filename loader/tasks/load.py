"""Load: COPY the validated bytes into the batch's staging table, and its rates into `rates`.

Readers see none of these rows: the batch is not in `visible_batches`, and its ledger row is open.
"""

import hashlib
import time
from typing import TYPE_CHECKING, Any

import psycopg2

from ratesflow.database.lock_retries import retry_on_lock
from ratesflow.loader.batches import s3, shards
from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.batches.digest import batch_digest, watched_by
from ratesflow.loader.batches.ledger import Entry, add_seconds, register_hidden, require_open
from ratesflow.loader.batches.results import Result
from ratesflow.loader.batches.shards import ClaimedShard
from ratesflow.loader.dataset import Dataset
from ratesflow.loader.files.streams import IteratorIO
from ratesflow.loader.runtime.errors import ClosedError, TaskError
from ratesflow.loader.tasks.copy_rows import copy_prices
from ratesflow.loader.tasks.registry import Limits, Task

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


def load(connection: "Connection", batch: Batch, dataset: Dataset) -> Result | None:
    """Stage the batch and attach its table to prices, hidden. Running it again changes nothing.

    Return None while other shards are unfinished. Raises ClosedError when the batch is not open, or its bytes
    differ from those that were validated.
    """
    began = time.monotonic()
    # Before it takes any lock, since an earlier attempt that hangs may hold them; this terminates it.
    shard = ClaimedShard.of_open_batch(connection, batch, "load")
    entry = shard.entry
    with connection, connection.cursor() as cursor:
        register_hidden(cursor, entry.batch_no)
        cursor.execute("SELECT stage_batch(%s)", (entry.batch_no,))
    with shard.claimed() as (cursor, is_new):
        if is_new:
            _load_shard(cursor, shard, dataset)
    with connection, connection.cursor() as cursor:
        # Without a lock on the row, which would wait for shards that are copying. The last shard to commit sees all of
        # them done.
        done = shards.done(cursor, entry.batch_no, "load")
    if len(done) < batch.shards:
        return None
    # May wait minutes for ANALYZE or a merge of tables; the copied rows are committed already.
    entry = retry_on_lock(connection, lambda cursor: _attach(cursor, batch, dataset, time.monotonic() - began))
    return Result("load", batch.batch_id, "loaded", sum(shard["rows"] for shard in done), report=entry.report)


def _attach(cursor: "Cursor", batch: Batch, dataset: Dataset, seconds: float) -> Entry:
    entry = require_open(cursor, batch.batch_id, "FOR UPDATE")
    dataset.rollup.record_changes(cursor, entry.batch_no)
    cursor.execute("SELECT attach_batch(%s)", (entry.batch_no,))
    add_seconds(cursor, entry.batch_no, "load", seconds)
    return entry


def _load_shard(cursor: "Cursor", shard: ClaimedShard, dataset: Dataset) -> None:
    validated = _validated(cursor, shard.batch, shard.entry)
    rows = copy_prices(cursor, shard, dataset.schema, validated)
    _copy_derived(cursor, shard.batch, dataset.rollup.copy, validated)
    shard.record(cursor, rows)


def _validated(cursor: "Cursor", batch: Batch, entry: Entry) -> dict[str, Any]:
    found = shards.done(cursor, entry.batch_no, "validate")
    if len(found) != batch.shards or entry.digest is None:
        raise TaskError(
            f"batch {batch.batch_id} was validated in {len(found)} shards, not {batch.shards}: nothing was loaded"
        )
    parts = [bytes.fromhex(part) for shard in found for part in shard["digests"]]
    if batch_digest(parts) != entry.digest:
        raise ClosedError(f"the digests of the validated parts of {batch.url} do not match the batch's digest")
    return found[batch.shard]


def _copy_derived(cursor: "Cursor", batch: Batch, statement: str, validated: dict[str, Any]) -> None:
    sha256 = hashlib.sha256()
    stream = IteratorIO(watched_by(sha256, s3.blocks(batch.bucket, validated["rates"])))
    failed = None
    try:
        cursor.copy_expert(statement, stream)
    except psycopg2.Error as error:
        if stream.failure:
            raise stream.failure from error
        failed = error
        stream.skip()  # the digest shows whether the rejected bytes were the right ones
    if sha256.hexdigest() != validated["rates_sha256"]:
        raise ClosedError(
            f"the rates in s3://{batch.bucket}/{validated['rates']} differ from those that validation stored"
        )
    if failed:
        raise failed


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
