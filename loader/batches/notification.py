"""Notifications of batches whose execution could not send one, the same as those of the state machine.

The schema is `docs/schemas/notification.json`; the state machine's own are built in workflow/outcome_states.py.
"""

import json
import os
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ratesflow.loader.batches.ledger import STEPS
from ratesflow.loader.runtime import clients
from ratesflow.loader.runtime.errors import TransientError

SCHEMA = "ratesflow.notification/1"
TOPIC, ENVIRONMENT = "RATESFLOW_TOPIC_ARN", "RATESFLOW_ENVIRONMENT"


NOTIFICATION_COLUMNS = (
    "batch_id, state, bucket, key, version, rows, rejected_rows, seconds, report,"
    " coalesce(execution_arn, ''), coalesce(message, '')"
)
"""What a notification needs of a batch's row in the ledger."""


def notification(row: Sequence[Any]) -> dict[str, Any]:
    """Return the notification of a closed batch, from the NOTIFICATION_COLUMNS of its row."""
    batch_id, state, bucket, key, version, rows, rejected_rows, seconds, report, execution, message = row
    return {
        "schema": SCHEMA,
        "notification_id": f"{batch_id}:{state}",
        "outcome": state,
        "environment": os.environ.get(ENVIRONMENT, ""),
        "batch_id": batch_id,
        "bucket": bucket,
        "key": key,
        "version": version,
        "rows": rows,
        "rejected_rows": rejected_rows,
        "seconds": {step: seconds.get(step) for step in STEPS},
        "report": report,
        "execution": execution,
        "message": message,
    }


def publish(message: dict[str, Any]) -> None:
    """Publish a notification to the topic, if one is set. Raises TransientError when SNS does not accept it."""
    topic = os.environ.get(TOPIC)
    if not topic:
        return
    outcome, environment = message["outcome"], message["environment"]
    attributes = {
        name: {"DataType": "String", "StringValue": value or "none"}
        for name, value in (("outcome", outcome), ("environment", environment))
    }
    subject = f"{environment} {outcome.upper()}: {message['batch_id']}"[:100]
    try:
        clients.client("sns").publish(
            TopicArn=topic, Subject=subject, Message=json.dumps(message), MessageAttributes=attributes
        )
    except (BotoCoreError, ClientError) as error:
        raise TransientError(f"cannot publish to {topic}: {error}") from error
