"""Passes the queue's messages to the Lambda handler as AWS does: in batches, with partial batch responses."""

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
# Long polling: moto responds as soon as there is a message.
WAIT_SECONDS = 1
PAUSE_SECONDS = 0.1


def serve(endpoint: str, queue: str) -> None:
    """Pass messages to the handler until the process ends. Failed ones stay in the queue and are received again."""
    from ratesflow.workflow.trigger import handler

    sqs = clients(endpoint, "trigger")("sqs")  # AWS Lambda, too, receives messages with the function's role
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
                _invoke(sqs, queue, found, handler)
        except (BotoCoreError, ClientError) as error:
            print(f"cannot receive messages: {error}", flush=True)  # noqa: T201
            time.sleep(1)


def _invoke(sqs: Any, queue: str, messages: list[dict[str, Any]], handler: Any) -> None:
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
    except Exception as error:  # noqa: BLE001 Lambda, too, returns the whole batch to the queue
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
    parser.add_argument("--endpoint", required=True, help="the URL of the embedded AWS")
    parser.add_argument("--queue", required=True, help="the URL of the arrivals queue")
    options = parser.parse_args()
    serve(options.endpoint, options.queue)
    return 0


if __name__ == "__main__":
    sys.exit(main())
