"""Discard: close the batch as failed, so that nothing more can be loaded or committed; then drop its rows."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ratesflow.loader.batches import s3
from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.batches.hidden_rows import drop_rows
from ratesflow.loader.batches.ledger import COMMITTED, FAILED, OPEN, STEPS, UNDONE, close_entry, find_entry, open_entry
from ratesflow.loader.batches.results import Result, closed_result
from ratesflow.loader.batches.shards import terminate_backends, unfinished
from ratesflow.loader.dataset import Dataset
from ratesflow.loader.runtime.errors import UsageError
from ratesflow.loader.runtime.session import end_sessions
from ratesflow.loader.runtime.texts import plain
from ratesflow.loader.tasks.registry import Limits, Task

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

# What exit codes of a job mean, for the message.
_EXIT_CODES = {
    1: " (no progress: its watchdog ended it, and its log has the stacks)",
    137: " (killed: out of memory, or from outside)",
    143: " (terminated)",
    75: " (a transient failure at every attempt)",
    65: " (the batch was closed, or its object can no longer be read)",
    64: " (wrong arguments or configuration)",
}
TIMED_OUT = "did not end in time: its job was queued too long, or ran too long"


def discard(
    connection: "Connection", batch: Batch, cause: str | None = None, *, dataset: Dataset, notified: bool | None = None
) -> Result:
    """Close the batch as failed and drop what it staged; a batch that is already closed stays as it is.

    By default the cause is read from the error that the state machine stored. `notified` is stored in the transaction
    that closes the batch: False means that its notification is still to be sent. The outcome is `discarded`, or the
    state of a batch that was already closed: a commit whose result was lost is still a commit.
    """
    failure = Failure(cause) if cause else stored_failure(batch)
    message = plain(failure.message)
    with connection, connection.cursor() as cursor:
        if message == TIMED_OUT:
            message = f"{_first_unfinished_step(cursor, batch.batch_id)} {message}"
        entry = open_entry(cursor, batch, state=FAILED, message=message, notified=notified)
        if entry.state == OPEN:
            if failure.array_task:
                message += _unfinished_shards(cursor, batch, entry.batch_no, failure.array_task)
            # A load that is still running holds a lock on the row, which would block this transaction.
            terminate_backends(cursor, entry.batch_no)
            end_sessions(cursor, "commit", f"{batch.batch_id}/")
    with connection, connection.cursor() as cursor:
        entry = find_entry(cursor, batch.batch_id, "FOR UPDATE") or entry
        if entry.state == OPEN:
            close_entry(cursor, entry.batch_no, FAILED, message=message, notified=notified)
            entry = find_entry(cursor, batch.batch_id) or entry
    # gc drops the partition of an undone batch, and compaction merges its derived rows with their negative.
    if entry.state not in (COMMITTED, UNDONE):
        drop_rows(connection, dataset, entry.batch_no)
    return closed_result("discard", batch.batch_id, entry, "discarded" if entry.state == FAILED else None)


@dataclass(frozen=True)
class Failure:
    """Why a batch failed, and the task whose array job failed, if any."""

    message: str
    array_task: str | None = None


def stored_failure(batch: Batch) -> Failure:
    """Return the failure, from the error that the state machine stored and the last message of the task."""
    try:
        error = json.loads(s3.get(batch.bucket, batch.result_key("error.json")))
        if isinstance(error, str):  # text that was encoded twice
            error = json.loads(error)
    except (KeyError, ValueError):
        return Failure("the execution did not finish, and no reason was stored")
    except UsageError as error:  # closing the batch is more important than the reason
        return Failure(f"the execution did not finish; {error}")
    job = _job(error.get("Cause"))
    if error.get("Error") == "States.Timeout":
        return Failure(TIMED_OUT)
    if job is None:
        return Failure(f"{error.get('Error', 'an unknown error')}: {error.get('Cause') or 'no cause was given'}")
    name = str(job.get("JobName", "")).partition("-")[0] or "a task"
    container = job.get("Container") or {}
    failure = f"{name} failed"
    if attempts := len(job.get("Attempts") or []):  # the parent of an array job has none
        failure += f" after {attempts} attempt{'s' if attempts > 1 else ''}"
    if (code := container.get("ExitCode")) is not None:
        failure += f" with exit code {code}{_EXIT_CODES.get(code, '')}"
    reason = _last_message(batch, name) or container.get("Reason") or job.get("StatusReason") or "no reason was given"
    log_stream = f" (log stream {container['LogStreamName']})" if container.get("LogStreamName") else ""
    return Failure(f"{failure}: {reason}{log_stream}", name if job.get("ArrayProperties") else None)


def _first_unfinished_step(cursor: "Cursor", batch_id: str) -> str:
    """Return the first step without a duration in the ledger."""
    cursor.execute("SELECT seconds FROM batches WHERE batch_id = %s", (batch_id,))
    row = cursor.fetchone()
    seconds = row[0] if row else {}
    return next((step for step in STEPS if step not in seconds), STEPS[-1])


def _job(cause: object) -> dict[str, Any] | None:
    """Return the description of a failed job, which Step Functions passes on as text; None for other causes."""
    try:
        job = json.loads(cause) if isinstance(cause, str) else cause
    except ValueError:
        return None
    return job if isinstance(job, dict) and "JobId" in job else None


def _last_message(batch: Batch, task: str) -> str | None:
    """Return the last message of the task, if it stored one."""
    try:
        return str(json.loads(s3.get(batch.bucket, batch.result_key(f"{task}.error.json")))["message"])
    except (KeyError, ValueError):
        return None
    except UsageError as error:
        return f"the reason cannot be read: {error}"


def _unfinished_shards(cursor: "Cursor", batch: Batch, batch_no: int, task: str) -> str:
    """Return a message that names the unfinished shards of a failed array job, which Step Functions does not name."""
    missing = unfinished(cursor, batch_no, task, batch.shards)
    some = ", ".join(map(str, missing[:10])) + (", …" if len(missing) > 10 else "")
    return f"; unfinished shards, of {batch.shards}: {some}"


TASK = Task(
    function=discard,
    help="close a batch as failed and drop what it loaded",
    outcomes=("discarded", "committed", "rejected", "duplicate", "undone"),
    ends={"discarded": "failed"},
    limits=Limits(silence=240, statement=300),
    run_seconds=600,
    permissions=("read_results", "missing", "write_results"),
)
