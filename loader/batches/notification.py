"""Notifications of batches whose execution could not send one, the same as those of the state machine.

The schema is `docs/schemas/notification.json`; the state machine's own are built in workflow/outcome_states.py.
"""

import json
import os
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.batches.results import Result
from ratesflow.loader.runtime import clients
from ratesflow.loader.runtime.errors import TransientError

SCHEMA = "ratesflow.notification/1"
TOPIC, ENVIRONMENT = "RATESFLOW_TOPIC_ARN", "RATESFLOW_ENVIRONMENT"


def of(batch: Batch, closed: Result, seconds: dict[str, float]) -> dict[str, Any]:
    """Return the notification of a closed batch; `seconds` are those of its finished steps."""
    return {
        "schema": SCHEMA,
        "notification_id": f"{batch.batch_id}:{closed.outcome}",
        "outcome": closed.outcome,
        "environment": os.environ.get(ENVIRONMENT, ""),
        "batch_id": batch.batch_id,
        "bucket": batch.bucket,
        "key": batch.key,
        "version": batch.version,
        "rows": closed.rows,
        "rejected_rows": closed.rejected_rows,
        "seconds": {step: seconds.get(step) for step in ("validate", "load", "commit")},
        "report": closed.report,
        "execution": batch.execution_arn,
        "message": closed.message,
    }


def publish(notification: dict[str, Any]) -> None:
    """Publish a notification to the topic, if one is set. Raises TransientError when SNS does not accept it."""
    topic = os.environ.get(TOPIC)
    if not topic:
        return
    outcome, environment = notification["outcome"], notification["environment"]
    attributes = {
        name: {"DataType": "String", "StringValue": value or "none"}
        for name, value in (("outcome", outcome), ("environment", environment))
    }
    subject = f"{environment} {outcome.upper()}: {notification['batch_id']}"[:100]
    try:
        clients.client("sns").publish(
            TopicArn=topic, Subject=subject, Message=json.dumps(notification), MessageAttributes=attributes
        )
    except (BotoCoreError, ClientError) as error:
        raise TransientError(f"cannot publish to {topic}: {error}") from error
