"""The states of the `stepfunctions` SDK that the workflow uses, with the fields that SDK 2.3.0 lacks.

This is the only module that imports the SDK. The import takes seconds, prints, warns, sets the root logger to ERROR
and replaces `sys.excepthook`; both are restored here. Everything but `definition` therefore reads the file that
`definition` writes (`placeholders`).
"""

import contextlib
import io
import logging
import sys
import warnings
from enum import Enum
from typing import Any

from ratesflow.extras import requires_extra

_level, _excepthook = logging.getLogger().level, sys.excepthook
with (
    requires_extra("sdk", "The definition of a workflow"),
    warnings.catch_warnings(),
    contextlib.redirect_stdout(io.StringIO()),
):
    warnings.simplefilter("ignore")
    from stepfunctions.steps import Catch, Chain, Choice, ChoiceRule, Fail, Graph, Pass, Retry, Succeed, Task
    from stepfunctions.steps.compute import BatchSubmitJobStep
    from stepfunctions.steps.service import SnsPublishStep
    from stepfunctions.steps.states import State
logging.getLogger().setLevel(_level)
sys.excepthook = _excepthook
logging.getLogger("stepfunctions").setLevel(logging.ERROR)

__all__ = [
    "BatchJob",
    "Catch",
    "Chain",
    "Choice",
    "ChoiceRule",
    "FailWithCausePath",
    "Graph",
    "JitteredRetry",
    "Pass",
    "Publish",
    "ReadObject",
    "State",
    "Succeed",
    "WriteObject",
]


class _Added(Enum):
    """Fields of the Amazon States Language that are newer than the SDK; the value is the keyword argument."""

    RESULT_SELECTOR = "result_selector"
    CAUSE_PATH = "cause_path"
    MAX_DELAY_SECONDS = "max_delay_seconds"
    JITTER_STRATEGY = "jitter_strategy"


class JitteredRetry(Retry):  # type: ignore[misc]
    """A Retry with `max_delay_seconds` and `jitter_strategy`."""

    def allowed_fields(self) -> list[Enum]:
        """Add the two fields to those of the SDK."""
        return [*super().allowed_fields(), _Added.MAX_DELAY_SECONDS, _Added.JITTER_STRATEGY]


class FailWithCausePath(Fail):  # type: ignore[misc]
    """A Fail whose cause is taken from the state, by `cause_path`."""

    def allowed_fields(self) -> list[Enum]:
        """Add the field to those of the SDK."""
        return [*super().allowed_fields(), _Added.CAUSE_PATH]


# The SDK takes the partition of a resource from the caller's region; the file must not depend on it.


class BatchJob(BatchSubmitJobStep):  # type: ignore[misc]
    """Submits a Batch job and waits until it ends."""

    def __init__(self, state_id: str, **fields: Any) -> None:
        super().__init__(state_id, **fields)
        self.fields["resource"] = "arn:aws:states:::batch:submitJob.sync"


class Publish(SnsPublishStep):  # type: ignore[misc]
    """Publishes a message to an SNS topic."""

    def __init__(self, state_id: str, **fields: Any) -> None:
        super().__init__(state_id, **fields)
        self.fields["resource"] = "arn:aws:states:::sns:publish"


class _ObjectTask(Task):  # type: ignore[misc]
    def allowed_fields(self) -> list[Enum]:
        return [*super().allowed_fields(), _Added.RESULT_SELECTOR]


class ReadObject(_ObjectTask):
    """Reads an object of S3, whose text is the `Body` of the result."""

    def __init__(self, state_id: str, **fields: Any) -> None:
        super().__init__(state_id, resource="arn:aws:states:::aws-sdk:s3:getObject", **fields)


class WriteObject(_ObjectTask):
    """Writes an object of S3."""

    def __init__(self, state_id: str, **fields: Any) -> None:
        super().__init__(state_id, resource="arn:aws:states:::aws-sdk:s3:putObject", **fields)
