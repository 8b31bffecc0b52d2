"""What to do next about a batch, by how its execution ended: a sentence that a person can act on."""

from collections.abc import Mapping
from typing import Any

from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.executions import Execution

_BY_OUTCOME = {
    "running": "Nothing: it is under way. What happens next shows here.",
    "committed": "Nothing: all of its rows are visible. To take them out again, exactly, undo the batch.",
    "rejected": "Correct the lines that the report names and send the file again; nothing of it was loaded.",
    "duplicate": "Nothing: these very bytes are committed already. To load them a second time, send the file with "
    "--force.",
    "open": "Run gc, which closes it (it also runs by schedule); then redo it, or send the file again.",
    "undone": "Nothing: somebody took the batch out again. To load it anew, redo it.",
}
_NEEDS_THE_OBJECT = ("failed", "open", "undone")


def next_step(execution: Execution, environment: Environment) -> str:
    """Return what a person should do about an execution now."""
    if execution.outcome in _NEEDS_THE_OBJECT and is_gone(environment, execution.input):
        return "Send the file again: its version in the bucket is gone, so that it cannot be redone."
    return _BY_OUTCOME.get(
        execution.outcome,
        "Nothing of it is visible. Read the log of the step that failed; when its cause is mended, redo it, which is "
        f"always safe: ratesflow redo {execution.name}",
    )


def is_gone(environment: Environment, given: Mapping[str, Any]) -> bool:
    """Tell whether the object that an execution was given is there no more; False when nobody says."""
    from botocore.exceptions import ClientError

    if not given.get("bucket") or not given.get("key"):
        return False
    version = {} if given.get("version") in (None, "", "null") else {"VersionId": given["version"]}
    try:
        environment.client("s3").head_object(Bucket=given["bucket"], Key=given["key"], **version)
    except ClientError as error:
        # 405 is a delete marker. Without the right to list, what is gone looks forbidden: that says nothing.
        return error.response["ResponseMetadata"]["HTTPStatusCode"] in (404, 405)
    return False
