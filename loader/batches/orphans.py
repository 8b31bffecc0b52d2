"""Finds batches whose execution ended without closing them in the ledger.

There are two kinds: open rows whose execution was stopped or timed out, and executions that ended before their first
task inserted a row, such as one that was stopped while its job was queued.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.runtime import clients
from ratesflow.loader.runtime.errors import TransientError
from ratesflow.loader.runtime.session import run_statement

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

ALL = "all"
STATE_MACHINE = "RATESFLOW_STATE_MACHINE_ARN"
# Older executions are ignored: many runs of gc have seen them, and Step Functions deletes executions after 90 days.
MAX_AGE = timedelta(days=30)

# The error of an execution that failed after its notification, as the definition in workflow/ sets it.
NOTIFIED = "BatchFailed"

_ENDS = {
    "ABORTED": "the execution was stopped",
    "TIMED_OUT": "the execution ran out of time",
    "FAILED": "the execution failed before it discarded the batch",
    "SUCCEEDED": "the execution ended without closing the batch",
}
_OPEN = """
SELECT batch_id, bucket, key, version, execution_arn, seconds FROM batches
WHERE state = 'open' AND %(batch)s IN ('all', batch_id) ORDER BY batch_no
"""


@dataclass(frozen=True)
class Abandoned:
    """A batch to close, how its execution ended, and the seconds of its finished steps."""

    batch: Batch
    end: str
    seconds: dict[str, float] = field(default_factory=dict)


def abandoned(connection: "Connection", batch: str) -> Iterator[Abandoned]:
    """Yield the batches to close, all or one. Raises TransientError when a request to AWS fails."""
    yield from _left_open(connection, batch)
    yield from _never_opened(connection, batch)


def _left_open(connection: "Connection", batch: str) -> Iterator[Abandoned]:
    for batch_id, bucket, key, version, arn, seconds in run_statement(connection, _OPEN, {"batch": batch}):
        end = (
            _describe_end(_describe(arn)) if arn else "the batch was started without an execution and was not finished"
        )
        if end:
            yield Abandoned(Batch(batch_id, bucket, key, version, arn or ""), end, seconds)


def _never_opened(connection: "Connection", batch: str) -> Iterator[Abandoned]:
    machine = os.environ.get(STATE_MACHINE)
    if not machine:
        return
    for arns in _ended(machine) if batch == ALL else [[_execution_arn(machine, batch)]]:
        statement = "SELECT batch_id FROM batches WHERE batch_id = ANY (%s)"
        in_ledger = {batch_id for (batch_id,) in run_statement(connection, statement, ([_name(arn) for arn in arns],))}
        for arn in arns:
            if _name(arn) not in in_ledger and (found := _never_opened_batch(arn)):
                yield found


def ended(batch: str, statuses: Sequence[str]) -> Iterator[list[str]]:
    """Yield the names of executions, all or one, that ended with one of these statuses, in pages.

    Raises TransientError when a request to AWS fails.
    """
    machine = os.environ.get(STATE_MACHINE)
    if not machine:
        return
    if batch == ALL:
        yield from ([_name(arn) for arn in arns] for arns in _ended(machine, statuses))
    elif (found := _describe(_execution_arn(machine, batch))) and found["status"] in statuses:
        yield [batch]


def was_notified(batch: str) -> bool | None:
    """Return whether a failed execution had sent its notification; None if it was redriven and is running again.

    It had not if the state machine itself failed (States.Runtime, which no Catch handles), or if the notification
    could not be sent. Raises TransientError when a request to AWS fails.
    """
    execution = _describe(_execution_arn(os.environ[STATE_MACHINE], batch))
    if execution is None:
        return True  # Step Functions has deleted it: it ended long ago
    return execution.get("error") == NOTIFIED if execution["status"] == "FAILED" else None


def _never_opened_batch(arn: str) -> Abandoned | None:
    execution = _describe(arn)
    end = _describe_end(execution)
    if execution is None or end is None or execution["status"] == "SUCCEEDED":
        return None
    given = json.loads(execution["input"])
    if not isinstance(given, dict) or not {"bucket", "key", "version"} <= set(given):
        return None  # started by hand, without a batch
    return Abandoned(Batch(_name(arn), given["bucket"], given["key"], given["version"], arn), end)


def _ended(machine: str, statuses: Sequence[str] = ("ABORTED", "TIMED_OUT", "FAILED")) -> Iterator[list[str]]:
    """Yield the ARNs of the executions that ended with one of these statuses, page by page."""
    since = datetime.now(UTC) - MAX_AGE
    for status in statuses:
        pages = clients.client("stepfunctions").get_paginator("list_executions")
        try:
            for page in pages.paginate(stateMachineArn=machine, statusFilter=status):
                found = [each for each in page["executions"] if each["startDate"] > since]
                yield [each["executionArn"] for each in found]
                if len(found) < len(page["executions"]):  # the newest come first
                    break
        except (BotoCoreError, ClientError) as error:
            raise TransientError(f"cannot list the executions of {machine}: {error}") from error


def _describe(arn: str) -> dict[str, Any] | None:
    """Return Step Functions' description of an execution, None if it is deleted."""
    try:
        found: dict[str, Any] = clients.client("stepfunctions").describe_execution(executionArn=arn)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ExecutionDoesNotExist":
            return None
        raise TransientError(f"cannot describe {arn}: {error}") from error
    except BotoCoreError as error:
        raise TransientError(f"cannot describe {arn}: {error}") from error
    return found


def _describe_end(execution: dict[str, Any] | None) -> str | None:
    """Return how an execution ended, None if it is running. A deleted execution has ended."""
    if execution is None:
        return "the execution no longer exists"
    end = _ENDS.get(execution["status"])
    why = ": ".join(filter(None, (execution.get("error"), execution.get("cause"))))
    return f"{end}: {why}" if end and why else end


def _name(arn: str) -> str:
    return arn.rpartition(":")[2]


def _execution_arn(machine: str, name: str) -> str:
    parts = machine.split(":")[:7]  # without an alias or a version, which executions do not have
    parts[5] = "execution"
    return ":".join([*parts, name])
