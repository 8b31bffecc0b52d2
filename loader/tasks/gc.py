"""gc: close what stopped or timed-out executions left open, and start objects that no execution has processed.

A stopped or timed-out execution runs no Catch, so no discard. gc closes its batch, drops what it staged and notifies,
as the state machine would have done. It runs by schedule and after `ratesflow stop`, and may run at any time: every
step checks the ledger first.
"""

import json
import os
from collections.abc import Callable, Iterator, Sized
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from psycopg2 import errors

from ratesflow.database.lock_retries import TREE_LOCK, UNDO_LOCK, retry_on_lock
from ratesflow.database.reference_change import FIRST_MOVE
from ratesflow.loader.batches import inbox, ledger_outcomes
from ratesflow.loader.batches.hidden_rows import DROP_SECONDS, delete_derived, drop_rows
from ratesflow.loader.batches.ledger import FAILED
from ratesflow.loader.batches.notification import NOTIFICATION_COLUMNS, notification, publish
from ratesflow.loader.batches.orphans import ALL, abandoned, ended, was_notified
from ratesflow.loader.batches.results import Result, store_data
from ratesflow.loader.dataset import Dataset
from ratesflow.loader.runtime import clients, metrics
from ratesflow.loader.runtime.connection import task_error
from ratesflow.loader.runtime.errors import TaskError, TransientError, UsageError
from ratesflow.loader.runtime.session import run_statement
from ratesflow.loader.runtime.upkeep import Piece, Upkeep
from ratesflow.loader.tasks.discard import discard
from ratesflow.loader.tasks.registry import Limits, Task

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

# The event of a younger object may still be on its way; an older object is no longer retried.
LOST_MINUTES = "RATESFLOW_RETRIGGER_AFTER_MINUTES"
LOST_AFTER, GIVEN_UP_AFTER = timedelta(minutes=15), timedelta(days=30)

# Hidden rows that no task will complete: of closed batches, and of undos that were killed.
_LEFT = """
SELECT changes.batch_no
FROM changes LEFT JOIN batches USING (batch_no)
WHERE changes.version IS NULL AND (changes.batch_no < 0 OR batches.state IS DISTINCT FROM 'open')
"""
# Once its negative is visible, the stored rows of an undone batch are not needed. Compaction merges the derived ones.
_UNDONE = "SELECT batch_no FROM batches WHERE state = 'undone' AND dropped_at IS NULL"
_UNNOTIFIED = f"""
SELECT {NOTIFICATION_COLUMNS} FROM batches
WHERE NOT notified AND %(batch)s IN ('all', batch_id) ORDER BY batch_no
"""  # noqa: S608
# Stopped or timed out after the batch was closed, perhaps before the state Notify: notified at least once.
_INTERRUPTED = """
UPDATE batches SET notified = false WHERE batch_id = ANY (%s) AND notified IS NULL AND state NOT IN ('open', 'undone')
"""
_FAILED = """
SELECT batch_id, state FROM batches WHERE batch_id = ANY (%s) AND notified IS NULL AND state NOT IN ('open', 'undone')
"""
_SEEN = "SELECT key, version FROM batches WHERE bucket = %s AND key = ANY (%s)"


def gc(connection: "Connection", run_id: str, bucket: str, batch: str = ALL, *, dataset: Dataset) -> Result:
    """Close abandoned batches (all, or the one named), drop leftovers, start lost objects; return how many.

    Each is a piece of its own, which cannot stop the others. Raises TaskError for a piece that no retry can do, after
    all other pieces were tried.
    """
    upkeep = Upkeep()
    closed: list[str] = []
    started: list[str] = []
    dropped: list[int] = []
    upkeep.work_off(_each(lambda: _abandoned(connection, batch, dataset), "list of abandoned batches"))
    upkeep.work_off([("executions that were interrupted", partial(_mark_interrupted, connection, batch))])
    upkeep.work_off(_unnotified(connection, bucket, batch, closed))
    if batch != ALL:  # its outcome is stored in any case
        upkeep.work_off([(f"outcome of {batch}", partial(ledger_outcomes.keep, connection, bucket, batch))])
    upkeep.work_off(_leftovers(connection, dataset, dropped))
    if batch == ALL:
        upkeep.work_off([("lost objects", lambda: _start_lost(connection, bucket, started))])
    metrics.note("Backlog", upkeep.backlog)
    message = f"{len(closed)} closed, {_count(dropped, 'leftover')} dropped, {_count(started, 'lost object')} started"
    data = store_data("gc", run_id, bucket, {"closed": closed, "leftovers": len(dropped), "started": started})
    message += upkeep.finish()
    metrics.note_end(FAILED, len(closed))
    return Result("gc", run_id, "done", len(closed), message=message, data=data)


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}" + ("" if len(things) == 1 else "s")


def _each(pieces: Callable[[], Iterator[Piece]], what: str) -> Iterator[Piece]:
    """Yield pieces; if listing them fails, yield a piece that fails."""
    try:
        yield from pieces()
    except TaskError as error:
        yield what, partial(_fail, error)


def _fail(error: TaskError) -> None:
    raise error


def _abandoned(connection: "Connection", batch: str, dataset: Dataset) -> Iterator[Piece]:
    close = partial(discard, connection, dataset=dataset, notified=False)
    for found in abandoned(connection, batch):
        yield f"batch {found.batch.batch_id}", partial(close, found.batch, found.end)


def _unnotified(connection: "Connection", bucket: str, batch: str, closed: list[str]) -> Iterator[Piece]:
    """Yield the pending notifications of batches that gc closed, in this run or one that was killed."""
    for row in run_statement(connection, _UNNOTIFIED, {"batch": batch}):
        message = notification(row)
        yield f"notification of {message['batch_id']}", partial(_notify_pending, connection, bucket, closed, message)


def _notify_pending(connection: "Connection", bucket: str, closed: list[str], message: dict[str, Any]) -> None:
    batch_id = message["batch_id"]
    publish(message)
    ledger_outcomes.keep(connection, bucket, batch_id)
    run_statement(connection, "UPDATE batches SET notified = true WHERE batch_id = %s", (batch_id,))
    if message["outcome"] == FAILED:
        closed.append(batch_id)


def _mark_interrupted(connection: "Connection", batch: str) -> None:
    """Mark the closed batches of executions that may have ended before they notified."""
    for names in ended(batch, ("ABORTED", "TIMED_OUT")):
        run_statement(connection, _INTERRUPTED, (names,))
    for names in ended(batch, ("FAILED",)):
        for name, state in run_statement(connection, _FAILED, (names,)):  # only once for each batch
            # A failed execution notified of a failure, which was wrong if it could not read the ledger.
            notified = was_notified(name) and state == FAILED
            run_statement(
                connection,
                "UPDATE batches SET notified = %s WHERE batch_id = %s AND notified IS NULL",
                (notified, name),
            )


def _leftovers(connection: "Connection", dataset: Dataset, dropped: list[int]) -> Iterator[Piece]:
    with connection, connection.cursor() as cursor:
        cursor.execute(_LEFT)
        left = [number for (number,) in cursor.fetchall()]
        cursor.execute(_UNDONE)
        undone = [number for (number,) in cursor.fetchall()]
    for number in left:
        yield f"hidden rows of number {number}", partial(_drop_hidden, connection, dataset, number, dropped)
    for number in undone:
        yield f"{dataset.table} of the undone batch {number}", partial(_drop_undone, connection, number, dropped)


def _drop_hidden(connection: "Connection", dataset: Dataset, number: int, dropped: list[int]) -> None:
    """Drop what was written hidden under a number, unless its writer is still running."""
    if number in range(1, FIRST_MOVE):
        if not drop_rows(connection, dataset, number):
            raise TransientError(f"a query or a merge of tables holds a lock on {dataset.table}")
        dropped.append(number)
        return
    lock = (TREE_LOCK, 0) if number >= FIRST_MOVE else (UNDO_LOCK, -number % (1 << 31))
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", lock)
        if cursor.fetchone() == (True,):
            cursor.execute("DELETE FROM changes WHERE batch_no = %s AND version IS NULL", (number,))
            if cursor.rowcount:  # else it has become visible
                delete_derived(cursor, dataset, number)
                dropped.append(number)


def _drop_undone(connection: "Connection", number: int, dropped: list[int]) -> None:
    try:
        retry_on_lock(
            connection, lambda cursor: cursor.execute("SELECT drop_batch(%s)", (number,)), seconds=DROP_SECONDS
        )
    except errors.LockNotAvailable as error:
        raise task_error(error) from error
    dropped.append(number)


def _start_lost(connection: "Connection", bucket: str, started: list[str]) -> None:
    """Send the events of objects without a ledger row to the queue again; the trigger starts each object once."""
    queue = os.environ.get("RATESFLOW_QUEUE_URL")
    if not queue:
        return
    sqs = clients.client("sqs")
    for page in _inbox(bucket):
        seen = set(run_statement(connection, _SEEN, (bucket, [version["Key"] for version in page])))
        for version in page:
            if (version["Key"], version["VersionId"]) not in seen:
                sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(_event(bucket, version)))
                started.append(f"s3://{bucket}/{version['Key']}")


def _inbox(bucket: str) -> Iterator[list[dict[str, Any]]]:
    """Yield pages of the versions in the inbox that are old enough to be lost."""
    now, lost_after = datetime.now(UTC), _lost_after()
    pages = clients.client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=inbox.PREFIX)
    for page in pages:
        yield [
            version
            for version in page.get("Versions", [])
            if lost_after <= now - version["LastModified"] < GIVEN_UP_AFTER and inbox.is_batch(version["Key"])
        ]


def _lost_after() -> timedelta:
    """Return how old an object must be to count as lost, which is a setting. Raises UsageError."""
    minutes = os.environ.get(LOST_MINUTES)
    try:
        return timedelta(minutes=float(minutes)) if minutes else LOST_AFTER
    except ValueError:
        raise UsageError(f"{LOST_MINUTES} is {minutes!r}: set it to a number of minutes") from None


def _event(bucket: str, version: dict[str, Any]) -> dict[str, Any]:
    """Return the event of a new object, as EventBridge would have sent it."""
    s3_object = {
        "key": version["Key"],
        "size": version["Size"],
        "etag": version["ETag"].strip('"'),
        "version-id": version["VersionId"],
    }
    detail = {"bucket": {"name": bucket}, "object": s3_object, "reason": "found by gc"}
    return {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}


TASK = Task(
    function=gc,
    help="close abandoned batches, drop leftovers, start lost objects",
    arguments={"batch": "only this batch; all: every one"},
    outcomes=("done",),
    limits=Limits(silence=300, statement=900),
    permissions=("clean_up", "write_results"),
    upkeep=True,
)
