"""What to do next about a batch, by its outcome."""

from collections.abc import Mapping
from typing import Any

from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.executions import Execution

_BY_OUTCOME = {
    "running": "Nothing to do: the execution is running.",
    "committed": "Committed; all rows are live. To roll the batch back, undo it.",
    "rejected": "Correct the lines that the report names and ingest the file again. No rows were loaded.",
    "duplicate": "Nothing to do: the same bytes are already committed. To load them again, ingest the file with "
    "--force.",
    "open": "Run gc, which closes the batch (it also runs on a schedule); then redo it, or ingest the file again.",
    "undone": "Nothing to do: the batch was undone. To load it again, redo it.",
}
_NEEDS_THE_OBJECT = ("failed", "open", "undone")


def next_step(execution: Execution, environment: Environment) -> str:
    """Return what to do next about an execution."""
    if execution.outcome in _NEEDS_THE_OBJECT and is_gone(environment, execution.input):
        return "Ingest the file again: its version is no longer in the bucket, so it cannot be redone."
    return _BY_OUTCOME.get(
        execution.outcome,
        "No rows were published. Read the log of the failed step; when the cause is fixed, redo the batch, which is "
        f"always safe: ratesflow redo {execution.name}",
    )


def is_gone(environment: Environment, given: Mapping[str, Any]) -> bool:
    """Return whether the object of an execution's input no longer exists; False when that is unknown."""
    from botocore.exceptions import ClientError

    if not given.get("bucket") or not given.get("key"):
        return False
    version = {} if given.get("version") in (None, "", "null") else {"VersionId": given["version"]}
    try:
        environment.client("s3").head_object(Bucket=given["bucket"], Key=given["key"], **version)
    except ClientError as error:
        # 405 is a delete marker. Without the permission to list, a missing object gives 403, which proves nothing.
        return error.response["ResponseMetadata"]["HTTPStatusCode"] in (404, 405)
    return False
