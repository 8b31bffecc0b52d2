"""gc: close what executions left open when they were stopped or timed out, and start what nobody saw.

A stopped or timed-out execution runs no Catch, so no discard. This closes its batch, drops what it staged and
notifies, as the state machine would have done. It runs by schedule, after `ratesflow stop`, and as often as
one likes: every step asks the ledger first.
"""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from loader import aws, notification, objects
from loader.abandoned import ALL, abandoned, ended, has_told
from loader.batch import Batch
from loader.discard import discard, drop_rows
from loader.errors import UsageError
from loader.ledger import FAILED
from loader.results import Result

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

INBOX = "incoming/"
# An object younger than this may still be on its way through events and queues; one older was given up.
LOST_MINUTES = "RATESFLOW_LOST_MINUTES"
LOST_AFTER, GIVEN_UP_AFTER = timedelta(minutes=15), timedelta(days=30)

# Closed batches that do not count, of which a table or rates are left; a discard was killed in between.
_LEFT = """
SELECT batch_no FROM batches
WHERE state IN ('rejected', 'duplicate', 'failed')
  AND (to_regclass('staging_' || batch_no) IS NOT NULL
       OR EXISTS (SELECT FROM rates WHERE rates.batch_no = batches.batch_no AND rates.batch_no <> 0))
"""
# The prices of an undone batch are not needed once its negative counts; its rates are, until they are merged.
_UNDONE = """
SELECT batch_no FROM batches
WHERE state = 'undone' AND EXISTS (SELECT FROM prices WHERE prices.batch_no = batches.batch_no)
"""
_UNTOLD = """
SELECT batch_no, state, seconds, batch_id, bucket, key, version, coalesce(execution_arn, ''),
       rows, rejected_rows, report, coalesce(message, '')
FROM batches WHERE NOT told AND %(batch)s IN ('all', batch_id) ORDER BY batch_no
"""
# Stopped, or out of time, after the ledger was closed: perhaps before its state Notify. Twice is better than never.
_CUT_OFF = """
UPDATE batches SET told = false WHERE batch_id = ANY (%s) AND told IS NULL AND state NOT IN ('open', 'undone')
"""
_FAILED = """
SELECT batch_id FROM batches WHERE batch_id = ANY (%s) AND told IS NULL AND state NOT IN ('open', 'undone')
"""
_SEEN = "SELECT key, version FROM batches WHERE bucket = %s AND key = ANY (%s)"


def gc(connection: "Connection", run: str, bucket: str, batch: str = ALL) -> Result:
    """Close abandoned batches (all, or the one named), drop leftovers, start lost objects; say how many."""
    for found in abandoned(connection, batch):
        discard(connection, found.batch, found.end, told=False)
    _note_cut_off(connection, batch)
    closed = list(_tell(connection, batch))
    dropped = _drop_leftovers(connection)
    started = _start_lost(connection, bucket) if batch == ALL else []
    words = f"{len(closed)} closed, {dropped} leftovers dropped, {len(started)} lost objects started"
    key = f"results/{run}/gc.data.json"
    objects.put_json(bucket, key, {"closed": closed, "leftovers": dropped, "started": started})
    return Result("gc", run, "done", len(closed), message=words, data=key)


def _tell(connection: "Connection", batch: str) -> Iterator[str]:
    """Notify of what gc closed and has not told of, this run or one that was killed, and yield the batches' ids."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_UNTOLD, {"batch": batch})
        rows = cursor.fetchall()
    for batch_no, state, seconds, *told in rows:
        found = Batch(*told[:5])
        notification.publish(notification.of(found, Result("gc", found.batch_id, state, *told[5:]), seconds))
        with connection, connection.cursor() as cursor:
            cursor.execute("UPDATE batches SET told = true WHERE batch_no = %s", (batch_no,))
        if state == FAILED:
            yield found.batch_id


def _note_cut_off(connection: "Connection", batch: str) -> None:
    """Note the closed batches of executions that may have ended before they told of them."""
    for names in ended(batch, ("ABORTED", "TIMED_OUT")):
        with connection, connection.cursor() as cursor:
            cursor.execute(_CUT_OFF, (names,))
    for names in ended(batch, ("FAILED",)):
        with connection, connection.cursor() as cursor:
            cursor.execute(_FAILED, (names,))
            found = [name for (name,) in cursor.fetchall()]
        for name in found:  # each is looked at once
            told = has_told(name)
            with connection, connection.cursor() as cursor:
                cursor.execute("UPDATE batches SET told = %s WHERE batch_id = %s AND told IS NULL", (told, name))


def _drop_leftovers(connection: "Connection") -> int:
    with connection, connection.cursor() as cursor:
        cursor.execute(_LEFT)
        left = [number for (number,) in cursor.fetchall()]
        cursor.execute(_UNDONE)
        undone = [number for (number,) in cursor.fetchall()]
    for number in left:
        drop_rows(connection, number)
    for number in undone:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT drop_batch(%s)", (number,))
    return len(left) + len(undone)


def _start_lost(connection: "Connection", bucket: str) -> list[str]:
    """Send objects that no execution has opened to the queue of arrivals again; the trigger starts them once."""
    queue = os.environ.get("RATESFLOW_QUEUE_URL")
    if not queue:
        return []
    started = []
    sqs = aws.client("sqs")
    for page in _inbox(bucket):
        with connection, connection.cursor() as cursor:
            cursor.execute(_SEEN, (bucket, [version["Key"] for version in page]))
            seen = set(cursor.fetchall())
        for version in page:
            if (version["Key"], version["VersionId"]) not in seen:
                sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(_event(bucket, version)))
                started.append(f"s3://{bucket}/{version['Key']}")
    return started


def _inbox(bucket: str) -> Iterator[list[dict[str, Any]]]:
    """Yield pages of the versions in the inbox that are old enough to be lost."""
    now, lost_after = datetime.now(UTC), _lost_after()
    pages = aws.client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=INBOX)
    for page in pages:
        yield [
            version
            for version in page.get("Versions", [])
            if lost_after <= now - version["LastModified"] < GIVEN_UP_AFTER and not version["Key"].endswith("/")
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
