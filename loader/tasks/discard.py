"""Discard: close the ledger's row first, so that nothing more can be loaded or committed; then drop the rows."""

import json
from typing import TYPE_CHECKING, Any

from psycopg2 import errors

from ratesflow.database.lock_retries import retry_on_lock
from ratesflow.loader.batches import s3
from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.batches.ledger import COMMITTED, FAILED, OPEN, UNDONE, close_entry, find_entry, open_entry
from ratesflow.loader.batches.results import Result
from ratesflow.loader.batches.shards import terminate_backends, unfinished
from ratesflow.loader.runtime.errors import UsageError
from ratesflow.loader.runtime.log import log
from ratesflow.loader.runtime.session import end_sessions
from ratesflow.loader.runtime.texts import plain
from ratesflow.loader.tasks.registry import Limits, Task

# Seconds to wait for readers of prices, or a merge of their tables, before dropping.
DROP_SECONDS = 10.0
# Rates that are deleted in one statement.
RATES_AT_ONCE = 100_000
OUT_OF_TIME = "did not end in time: it waited too long for a place to run, or ran too long"

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


def discard(connection: "Connection", batch: Batch, why: str | None = None, *, notified: bool | None = None) -> Result:
    """Close the batch as failed and drop what it staged; a batch that is closed already stays as it is.

    `why` is the cause; by default it is read from the error that the state machine stored. `notified` is stored in the
    transaction that closes the batch: False means that its notification is still to be sent. The outcome is
    `discarded`, or the state of a batch that was closed before: a commit whose result was lost is still a commit.
    """
    message = plain(why or failure_cause(batch))
    with connection, connection.cursor() as cursor:
        if message == OUT_OF_TIME:
            message = f"{_step(cursor, batch.batch_id)} {message}"
        entry = open_entry(cursor, batch, state=FAILED, message=message, notified=notified)
        if entry.state == OPEN:
            message += _unfinished_shards(cursor, batch, entry.batch_no, message)
            # A load that still runs holds the row, which would block this transaction.
            terminate_backends(cursor, entry.batch_no)
            end_sessions(cursor, "commit", f"{batch.batch_id}/")
    with connection, connection.cursor() as cursor:
        entry = find_entry(cursor, batch.batch_id, "FOR UPDATE") or entry
        if entry.state == OPEN:
            close_entry(cursor, entry.batch_no, FAILED, message=message, notified=notified)
            entry = find_entry(cursor, batch.batch_id) or entry
    # gc drops the prices of an undone batch, and compaction merges its rates with their negative.
    if entry.state not in (COMMITTED, UNDONE):
        drop_rows(connection, entry.batch_no)
    outcome = "discarded" if entry.state == FAILED else entry.state
    return Result(
        "discard", batch.batch_id, outcome, entry.rows, entry.rejected_rows, entry.report, entry.message or ""
    )


def drop_rows(connection: "Connection", batch_no: int) -> bool:
    """Drop the rates and the staging table of a closed batch that is not visible.

    Return False when a reader of prices, or a merge of their tables, holds a lock for longer than DROP_SECONDS: gc
    then drops them later.
    """
    while _delete_rates(connection, batch_no):
        pass

    def drop(cursor: "Cursor") -> None:
        cursor.execute("DELETE FROM changes WHERE batch_no = %s", (batch_no,))
        cursor.execute("SELECT drop_batch(%s)", (batch_no,))

    try:
        retry_on_lock(connection, drop, seconds=DROP_SECONDS)
    except (errors.LockNotAvailable, errors.DeadlockDetected) as error:
        log.info("prices are left to gc", batch_no=batch_no, reason=str(error).strip())
        return False
    return True


def _delete_rates(connection: "Connection", batch_no: int) -> int:
    """Delete some of the hidden rates of a batch; return how many."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM rates WHERE ctid = ANY (ARRAY("
            " SELECT ctid FROM rates WHERE batch_no = %s AND batch_no <> 0 LIMIT %s))",
            (batch_no, RATES_AT_ONCE),
        )
        return cursor.rowcount


def failure_cause(batch: Batch) -> str:
    """Return what failed, from the error that the state machine stored and the task's own last message."""
    try:
        error = json.loads(s3.get(batch.bucket, batch.result_key("error.json")))
        if isinstance(error, str):  # text that was encoded twice
            error = json.loads(error)
    except (KeyError, ValueError):
        return "the execution did not finish, and left no word why"
    except UsageError as error:  # closing the batch matters more than its reason
        return f"the execution did not finish; {error}"
    job = _job(error.get("Cause"))
    if error.get("Error") == "States.Timeout":
        return OUT_OF_TIME
    if job is None:
        return f"{error.get('Error', 'an unknown error')}: {error.get('Cause') or 'no cause was given'}"
    name = str(job.get("JobName", "")).partition("-")[0] or "a task"
    container = job.get("Container") or {}
    words = [f"{name} failed"]
    if attempts := len(job.get("Attempts") or []):  # the parent of an array job has none
        words.append(f"after {attempts} attempt{'s' if attempts > 1 else ''}")
    if (code := container.get("ExitCode")) is not None:
        words.append(f"with exit code {code}{_meaning(code)}")
    said = _said(batch, name)
    reason = said or container.get("Reason") or job.get("StatusReason") or "no reason was given"
    where = f" (log stream {container['LogStreamName']})" if container.get("LogStreamName") else ""
    return f"{' '.join(words)}: {reason}{where}"


def _step(cursor: "Cursor", batch_id: str) -> str:
    """Return the first step that the ledger does not have as done."""
    cursor.execute("SELECT seconds FROM batches WHERE batch_id = %s", (batch_id,))
    row = cursor.fetchone()
    done = row[0] if row else {}
    return next((step for step in ("validate", "load") if step not in done), "commit")


def _job(cause: object) -> dict[str, Any] | None:
    """Return the description of a failed job, which Step Functions passes on as text, None for other causes."""
    try:
        job = json.loads(cause) if isinstance(cause, str) else cause
    except ValueError:
        return None
    return job if isinstance(job, dict) and "JobId" in job else None


def _said(batch: Batch, task: str) -> str | None:
    """Return the last message of the task, if it stored one."""
    try:
        words = json.loads(s3.get(batch.bucket, batch.result_key(f"{task}.error.json")))["message"]
    except (KeyError, ValueError):
        return None
    except UsageError as error:
        return f"why is not known: {error}"
    return str(words)


def _unfinished_shards(cursor: "Cursor", batch: Batch, batch_no: int, message: str) -> str:
    """Return a message that names the unfinished shards of a failed array job, which Step Functions does not name."""
    task = message.partition(" failed")[0]
    if batch.shards == 1 or task not in ("validate", "load"):
        return ""
    missing = unfinished(cursor, batch_no, task, batch.shards)
    some = ", ".join(map(str, missing[:10])) + (", …" if len(missing) > 10 else "")
    return f"; of {batch.shards} shards these are not done: {some}"


def _meaning(code: object) -> str:
    return {
        1: " (it stood still, and was ended by its own watchdog: its log has the stacks)",
        137: " (killed: out of memory, or from outside)",
        143: " (terminated)",
        75: " (a passing fault, at every attempt)",
        65: " (the batch was closed, or its object cannot be read any more)",
        64: " (something is not set up as it must be)",
    }.get(code if isinstance(code, int) else -1, "")


TASK = Task(
    function=discard,
    help="close a batch as failed and drop what it loaded",
    outcomes=("discarded", "committed", "rejected", "duplicate", "undone"),
    ends={"discarded": "failed"},
    limits=Limits(silence=240, statement=300),
    run_seconds=600,
    permissions=("read_results", "missing", "write_results"),
)
