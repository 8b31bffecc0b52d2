"""The states in which a batch's way ends: each makes the answer that is notified and that the execution returns.

The answer has the schema `ratesflow.notification/1`. Whatever a batch has not come to is `null` in it, because
`blanks` puts empty results in place when the execution begins.
"""

from collections.abc import Mapping
from typing import Any

from ratesflow.workflow.sdk import Pass, State
from ratesflow.workflow.settings import WorkflowSettings
from ratesflow.workflow.task_states import EXECUTION_NAME, formatted

NOTIFICATION_SCHEMA = "ratesflow.notification/1"
STEPS = ("validate", "load", "commit")


def blanks() -> dict[str, Any]:
    """Return what an execution knows before its first step: one shard, and no result yet."""
    nothing = {"rows": None, "rejected_rows": None, "seconds": None, "report": None, "message": None}
    return {"shards": 1} | {step: {"document": {"outcome": "not run", **nothing}} for step in STEPS}


def rejected(settings: WorkflowSettings) -> State:
    """Return the end of a batch that validation refused."""
    return _answer(settings, "Rejected", "validate", "The report says which lines, and why.")


def duplicate(settings: WorkflowSettings) -> State:
    """Return the end of a batch whose bytes are committed already, as validation found."""
    return _answer(settings, "Duplicate", "validate", "The same bytes are committed already.")


def duplicate_at_commit(settings: WorkflowSettings) -> State:
    """Return the end of a batch whose bytes another one committed first; commit has cleaned up."""
    return _answer(settings, "DuplicateAtCommit", "commit", "Another batch committed the same bytes first.")


def committed(settings: WorkflowSettings) -> State:
    """Return the end of a batch that everybody can see."""
    return _answer(settings, "Committed", "commit", "All of its rows are visible.")


def settled_before(settings: WorkflowSettings) -> State:
    """Return the end of a batch that a step gave up although the ledger had closed it before."""
    comment = "A step failed, but the ledger had closed the batch before: that outcome stands."
    return _answer(settings, "SettledBefore", "discard", comment, {"report.$": "$.discard.document.report"})


def failed(settings: WorkflowSettings) -> State:
    """Return the end of a batch that was discarded; its message is the cause in words."""
    return _answer(settings, "Failed", "discard", "Nothing of it is left.", _FAILED)


def not_discarded(settings: WorkflowSettings) -> State:
    """Return the end of a batch that could not even be discarded."""
    words = (
        "The batch failed, and discarding it failed too ({}). The scheduled gc will close it as its ledger row "
        f"demands; to do that now, run: ratesflow gc. What failed first is in {settings.results}/{{}}/error.json."
    )
    message = {"message.$": formatted(words, "$.not_discarded.Error", EXECUTION_NAME)}
    return _answer(settings, "NotDiscarded", "validate", "Left for gc.", _FAILED | message)


def unknown_answer(task: str) -> State:
    """Return the state that turns an outcome which nobody knows into an error."""
    words = f"The result document of {task} has the outcome {{}}, which this workflow does not know."
    return Pass(
        f"Unknown{task.capitalize()}Answer",
        parameters={
            "Error": "UnknownAnswer",
            "Cause.$": formatted(words, f"$.{task}.document.outcome"),
        },
        result_path="$.error",
    )


_FAILED = {"outcome": "failed", "notification_id.$": formatted("{}:failed", EXECUTION_NAME)}


def _answer(
    settings: WorkflowSettings,
    state_id: str,
    task: str,
    comment: str,
    instead: Mapping[str, Any] | None = None,
) -> State:
    """Return the state that makes an answer from the result document of `task`, some fields told otherwise."""
    document = f"$.{task}.document"
    instead = instead or {}
    answer: dict[str, Any] = {
        "schema": NOTIFICATION_SCHEMA,
        "notification_id.$": formatted("{}:{}", EXECUTION_NAME, f"{document}.outcome"),
        "outcome.$": f"{document}.outcome",
        "environment": settings.environment,
        "batch_id.$": EXECUTION_NAME,
        "bucket.$": "$.bucket",
        "key.$": "$.key",
        "version.$": "$.version",
        "rows.$": f"{document}.rows",
        "rejected_rows.$": f"{document}.rejected_rows",
        "seconds": {f"{step}.$": f"$.{step}.document.seconds" for step in STEPS},
        "report.$": "$.validate.document.report",
        "execution.$": "$$.Execution.Id",
        "message.$": f"{document}.message",
    }
    if "outcome" in instead:
        del answer["outcome.$"]
    return Pass(state_id, comment=comment, parameters=answer | dict(instead))
