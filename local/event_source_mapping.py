"""Gives the queue's messages to the Lambda handler, as AWS does: in batches, with the same report of failures."""

import argparse
import os
import signal
import sys
import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ratesflow.local.deploy import CREDENTIALS, clients
from ratesflow.local.parent_death_signal import die_with_parent

MESSAGES = 10
# What moto is asked to wait for a message; it answers at once when there is one.
WAIT_SECONDS = 1
PAUSE_SECONDS = 0.1


def serve(endpoint: str, queue: str) -> None:
    """Hand over messages until the process ends; those that the handler reports as failed come again."""
    from ratesflow.workflow.trigger import handler

    sqs = clients(endpoint, "trigger")("sqs")  # AWS Lambda too takes messages under the function's role
    while True:
        try:
            found = sqs.receive_message(
                QueueUrl=queue,
                MaxNumberOfMessages=MESSAGES,
                WaitTimeSeconds=WAIT_SECONDS,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            ).get("Messages", [])
            if found:
                _hand_over(sqs, queue, found, handler)
        except (BotoCoreError, ClientError) as error:
            print(f"the queue does not answer: {error}", flush=True)  # noqa: T201
            time.sleep(1)


def _hand_over(sqs: Any, queue: str, messages: list[dict[str, Any]], handler: Any) -> None:
    records = [
        {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message.get("Attributes", {}),
            "messageAttributes": message.get("MessageAttributes", {}),
            "eventSource": "aws:sqs",
            "awsRegion": CREDENTIALS["AWS_DEFAULT_REGION"],
        }
        for message in messages
    ]
    try:
        failed = {item["itemIdentifier"] for item in handler({"Records": records}, None)["batchItemFailures"]}
    except Exception as error:  # noqa: BLE001 Lambda too puts all of them back when the function raises
        print(f"the handler failed: {type(error).__name__}: {error}", flush=True)  # noqa: T201
        return
    for record in records:
        if record["messageId"] not in failed:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=record["receiptHandle"])


def main() -> int:
    """Run until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    die_with_parent(signal.SIGTERM, os.getppid())
    parser = argparse.ArgumentParser(prog="python -m ratesflow.local.event_source_mapping", description=__doc__)
    parser.add_argument("--endpoint", required=True, help="the address of the embedded AWS")
    parser.add_argument("--queue", required=True, help="the URL of the queue of arrivals")
    options = parser.parse_args()
    serve(options.endpoint, options.queue)
    return 0


if __name__ == "__main__":
    sys.exit(main())
