"""The states in which a batch ends: each builds the notification, which is also the output of the execution.

Its schema is `ratesflow.notification/1`. The fields of a step that did not run are `null`, because `defaults` puts
empty results in place when the execution begins.
"""

from collections.abc import Mapping
from typing import Any

from ratesflow.workflow.sdk import Pass, State
from ratesflow.workflow.settings import WorkflowSettings
from ratesflow.workflow.task_states import EXECUTION_NAME, state_name, states_format

NOTIFICATION_SCHEMA = "ratesflow.notification/1"
STEPS = ("validate", "load", "commit")


def defaults() -> dict[str, Any]:
    """Return what an execution has before its first step: one shard, and an empty result of each step."""
    empty = {"rows": None, "rejected_rows": None, "seconds": None, "report": None, "message": None}
    return {"shards": 1} | {step: {"document": {"outcome": "not run", **empty}} for step in STEPS}


def rejected(settings: WorkflowSettings) -> State:
    """Return the end of a batch that validation rejected."""
    return _outcome(settings, "Rejected", "validate", "The report lists the rejected rows and the reasons.")


def duplicate(settings: WorkflowSettings) -> State:
    """Return the end of a batch whose bytes are already committed, as validation found."""
    return _outcome(settings, "Duplicate", "validate", "The same bytes are already committed.")


def duplicate_at_commit(settings: WorkflowSettings) -> State:
    """Return the end of a batch whose bytes another batch committed first; commit has dropped its rows."""
    return _outcome(settings, "DuplicateAtCommit", "commit", "Another batch committed the same bytes first.")


def committed(settings: WorkflowSettings) -> State:
    """Return the end of a batch whose rows are visible."""
    return _outcome(settings, "Committed", "commit", "All of its rows are visible.")


def already_closed(settings: WorkflowSettings) -> State:
    """Return the end of a batch of which a step failed although the ledger had already closed it."""
    comment = "A step failed, but the ledger had already closed the batch: that outcome stands."
    return _outcome(settings, "AlreadyClosed", "discard", comment, {"report.$": "$.discard.document.report"})


def failed(settings: WorkflowSettings) -> State:
    """Return the end of a batch that was discarded; its message is the cause."""
    return _outcome(settings, "Failed", "discard", "The batch failed; none of its rows were published.", _FAILED)


def discard_failed(settings: WorkflowSettings) -> State:
    """Return the end of a batch that failed and could not be discarded."""
    template = (
        "The batch failed, and discarding it failed too ({}). The scheduled gc will close it as its "
        f"ledger row requires; to do that now, run: ratesflow gc. "
        f"The first error is in {settings.results}/{{}}/error.json."
    )
    message = {"message.$": states_format(template, "$.not_discarded.Error", EXECUTION_NAME)}
    return _outcome(settings, "DiscardFailed", "validate", "The scheduled gc closes it.", _FAILED | message)


def unknown_outcome(task: str) -> State:
    """Return the state that turns an outcome without a branch into an error."""
    template = f"The result document of {task} has the outcome {{}}, which this workflow does not handle."
    return Pass(
        f"Unknown{state_name(task)}Outcome",
        parameters={
            "Error": "UnknownOutcome",
            "Cause.$": states_format(template, f"$.{task}.document.outcome"),
        },
        result_path="$.error",
    )


_FAILED = {"outcome": "failed", "notification_id.$": states_format("{}:failed", EXECUTION_NAME)}


def _outcome(
    settings: WorkflowSettings,
    name: str,
    task: str,
    comment: str,
    replacing: Mapping[str, Any] | None = None,
) -> State:
    """Return the state that builds a notification from the result document of `task`, with some fields replaced."""
    document = f"$.{task}.document"
    replacing = replacing or {}
    notification: dict[str, Any] = {
        "schema": NOTIFICATION_SCHEMA,
        "notification_id.$": states_format("{}:{}", EXECUTION_NAME, f"{document}.outcome"),
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
    if "outcome" in replacing:
        del notification["outcome.$"]
    return Pass(name, comment=comment, parameters=notification | dict(replacing))
