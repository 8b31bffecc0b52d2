"""What to do next about a batch, by how its execution ended: a sentence that a person can act on."""

from workflow.executions import Execution

_BY_OUTCOME = {
    "running": "Nothing: it is under way. What happens next shows here.",
    "committed": "Nothing: all of its rows are visible. To take them out again, exactly, undo the batch.",
    "rejected": "Correct the lines that the report names and send the file again; nothing of it was loaded.",
    "duplicate": "Nothing: these very bytes are committed already. To load them a second time, send the file with "
    "--force.",
    "open": "Run gc, which closes it (it also runs by schedule); then redo it, or send the file again.",
    "undone": "Nothing: somebody took the batch out again. To load it anew, redo it.",
}


def what_next(execution: Execution) -> str:
    """Return what a person should do about an execution now."""
    return _BY_OUTCOME.get(
        execution.outcome,
        "Nothing of it is visible. Read the log of the step that failed; when its cause is mended, redo it: that is "
        "always safe.",
    )
