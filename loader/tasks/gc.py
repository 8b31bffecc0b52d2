"""gc: close what stopped or timed-out executions left open, and start objects that no execution has processed.

A stopped or timed-out execution runs no Catch, so no discard. This closes its batch, drops what it staged and
notifies, as the state machine would have. It runs by schedule and after `ratesflow stop`, and may run at any time:
every step checks the ledger first.
"""

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from psycopg2 import errors

from ratesflow.database.lock_retries import TREE_LOCK, UNDO_LOCK, retry_on_lock
from ratesflow.database.reference_change import FIRST_MOVE
from ratesflow.loader.batches import inbox, ledger_outcomes, notification, s3
from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.batches.ledger import FAILED
from ratesflow.loader.batches.orphans import ALL, abandoned, ended, was_notified
from ratesflow.loader.batches.results import Result
from ratesflow.loader.runtime import clients, metrics
from ratesflow.loader.runtime.connection import task_error
from ratesflow.loader.runtime.errors import TaskError, TransientError, UsageError
from ratesflow.loader.runtime.upkeep import Piece, Upkeep
from ratesflow.loader.tasks.discard import DROP_SECONDS, discard, drop_rows
from ratesflow.loader.tasks.registry import Limits, Task

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

# A younger object may still be in events and queues; an older one is no longer retried.
LOST_MINUTES = "RATESFLOW_RETRIGGER_AFTER_MINUTES"
LOST_AFTER, GIVEN_UP_AFTER = timedelta(minutes=15), timedelta(days=30)

# Hidden rows that no task works on any more: of closed batches, and of undos that never ended.
_LEFT = """
SELECT changes.batch_no
FROM changes LEFT JOIN batches USING (batch_no)
WHERE changes.version IS NULL AND (changes.batch_no < 0 OR batches.state IS DISTINCT FROM 'open')
"""
# The prices of an undone batch are not needed once its negative counts; its rates are, until they are merged.
_UNDONE = "SELECT batch_no FROM batches WHERE state = 'undone' AND dropped_at IS NULL"
_UNNOTIFIED = """
SELECT batch_no, state, seconds, batch_id, bucket, key, version, coalesce(execution_arn, ''),
       rows, rejected_rows, report, coalesce(message, '')
FROM batches WHERE NOT notified AND %(batch)s IN ('all', batch_id) ORDER BY batch_no
"""
# Stopped or timed out after the ledger was closed, perhaps before the state Notify: at least one notification.
_CUT_OFF = """
UPDATE batches SET notified = false WHERE batch_id = ANY (%s) AND notified IS NULL AND state NOT IN ('open', 'undone')
"""
_FAILED = """
SELECT batch_id, state FROM batches WHERE batch_id = ANY (%s) AND notified IS NULL AND state NOT IN ('open', 'undone')
"""
_SEEN = "SELECT key, version FROM batches WHERE bucket = %s AND key = ANY (%s)"


def gc(connection: "Connection", run: str, bucket: str, batch: str = ALL) -> Result:
    """Close abandoned batches (all, or the one named), drop leftovers, start lost objects; return how many.

    Each is a piece of its own, which cannot stop the others. Raises TaskError, after everything else was done, for
    what no retry can do.
    """
    upkeep = Upkeep()
    closed: list[str] = []
    started: list[str] = []
    dropped: list[int] = []
    upkeep.work_off(_each(lambda: _abandoned(connection, batch), "list of abandoned batches"))
    upkeep.work_off([("executions that were cut off", partial(_note_cut_off, connection, batch))])
    upkeep.work_off(_unnotified(connection, bucket, batch, closed))
    if batch != ALL:  # its outcome is wanted, no matter what closed the batch
        upkeep.work_off([(f"outcome of {batch}", partial(ledger_outcomes.keep, connection, bucket, batch))])
    upkeep.work_off(_leftovers(connection, dropped))
    if batch == ALL:
        upkeep.work_off([("lost objects", lambda: _start_lost(connection, bucket, started))])
    metrics.note("Backlog", upkeep.backlog)
    words = f"{len(closed)} closed, {len(dropped)} leftovers dropped, {len(started)} lost objects started"
    key = f"results/{run}/gc.data.json"
    s3.put_json(bucket, key, {"closed": closed, "leftovers": len(dropped), "started": started})
    words += upkeep.finish()
    metrics.note_end(FAILED, len(closed))
    return Result("gc", run, "done", len(closed), message=words, data=key)


def _each(pieces: Callable[[], Iterator[Piece]], what: str) -> Iterator[Piece]:
    """Yield pieces; if their list fails, yield a piece that fails."""
    try:
        yield from pieces()
    except TaskError as error:
        yield what, partial(_fail, error)


def _fail(error: TaskError) -> None:
    raise error


def _abandoned(connection: "Connection", batch: str) -> Iterator[Piece]:
    for found in abandoned(connection, batch):
        yield f"batch {found.batch.batch_id}", partial(discard, connection, found.batch, found.end, notified=False)


def _unnotified(connection: "Connection", bucket: str, batch: str, closed: list[str]) -> Iterator[Piece]:
    """Yield the pending notifications of batches that gc closed, in this run or one that was killed."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_UNNOTIFIED, {"batch": batch})
        rows = cursor.fetchall()
    for row in rows:
        yield f"notification of {row[3]}", partial(_notify_pending, connection, bucket, closed, *row)


def _notify_pending(
    connection: "Connection",
    bucket: str,
    closed: list[str],
    batch_no: int,
    state: str,
    seconds: dict[str, float],
    *row: Any,
) -> None:
    found = Batch(*row[:5])
    notification.publish(notification.of(found, Result("gc", found.batch_id, state, *row[5:]), seconds))
    ledger_outcomes.keep(connection, bucket, found.batch_id)
    with connection, connection.cursor() as cursor:
        cursor.execute("UPDATE batches SET notified = true WHERE batch_no = %s", (batch_no,))
    if state == FAILED:
        closed.append(found.batch_id)


def _note_cut_off(connection: "Connection", batch: str) -> None:
    """Mark the closed batches of executions that may have ended before they notified."""
    for names in ended(batch, ("ABORTED", "TIMED_OUT")):
        with connection, connection.cursor() as cursor:
            cursor.execute(_CUT_OFF, (names,))
    for names in ended(batch, ("FAILED",)):
        with connection, connection.cursor() as cursor:
            cursor.execute(_FAILED, (names,))
            found = cursor.fetchall()
        for name, state in found:  # each is looked at once
            # Such an execution has notified of a failure: one that could not read the ledger may have been wrong.
            notified = was_notified(name) and state == FAILED
            with connection, connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE batches SET notified = %s WHERE batch_id = %s AND notified IS NULL", (notified, name)
                )


def _leftovers(connection: "Connection", dropped: list[int]) -> Iterator[Piece]:
    with connection, connection.cursor() as cursor:
        cursor.execute(_LEFT)
        left = [number for (number,) in cursor.fetchall()]
        cursor.execute(_UNDONE)
        undone = [number for (number,) in cursor.fetchall()]
    for number in left:
        yield f"leftovers under number {number}", partial(_drop_hidden, connection, number, dropped)
    for number in undone:
        yield f"prices of the undone batch number {number}", partial(_drop_prices, connection, number, dropped)


def _drop_hidden(connection: "Connection", number: int, dropped: list[int]) -> None:
    """Drop what was written hidden under a number, unless its writer is still at work."""
    if number in range(1, FIRST_MOVE):
        if not drop_rows(connection, number):
            raise TransientError("prices are being read, or their tables merged")
        dropped.append(number)
        return
    lock = (TREE_LOCK, 0) if number >= FIRST_MOVE else (UNDO_LOCK, -number % (1 << 31))
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", lock)
        if cursor.fetchone() == (True,):
            cursor.execute("DELETE FROM changes WHERE batch_no = %s AND version IS NULL", (number,))
            if cursor.rowcount:  # else it became visible meanwhile
                cursor.execute("DELETE FROM rates WHERE batch_no = %s AND batch_no <> 0", (number,))
                dropped.append(number)


def _drop_prices(connection: "Connection", number: int, dropped: list[int]) -> None:
    try:
        retry_on_lock(
            connection, lambda cursor: cursor.execute("SELECT drop_batch(%s)", (number,)), seconds=DROP_SECONDS
        )
    except errors.LockNotAvailable as error:
        raise task_error(error) from error
    dropped.append(number)


def _start_lost(connection: "Connection", bucket: str, started: list[str]) -> None:
    """Send objects that no execution has opened to the queue of arrivals again; the trigger starts them once."""
    queue = os.environ.get("RATESFLOW_QUEUE_URL")
    if not queue:
        return
    sqs = clients.client("sqs")
    for page in _inbox(bucket):
        with connection, connection.cursor() as cursor:
            cursor.execute(_SEEN, (bucket, [version["Key"] for version in page]))
            seen = set(cursor.fetchall())
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
    """Return how old an object must be; an operator may set it. Raises UsageError."""
    minutes = os.environ.get(LOST_MINUTES)
    try:
        return timedelta(minutes=float(minutes)) if minutes else LOST_AFTER
    except ValueError:
        raise UsageError(f"{LOST_MINUTES} is {minutes!r}: give a number of minutes") from None


def _event(bucket: str, version: dict[str, Any]) -> dict[str, Any]:
    """Return the event of an object's arrival, as EventBridge would have sent it."""
    found = {
        "key": version["Key"],
        "size": version["Size"],
        "etag": version["ETag"].strip('"'),
        "version-id": version["VersionId"],
    }
    detail = {"bucket": {"name": bucket}, "object": found, "reason": "found by gc"}
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
