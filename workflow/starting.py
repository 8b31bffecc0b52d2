"""Starts executions by hand: of an object that lies there, of one that ended, of what the trigger put aside."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from workflow.advice import is_gone
from workflow.environment import Environment
from workflow.executions import TERMINAL, Execution, execution_arn, get_execution

_REDO = re.compile(r"-r(\d+)$")
MOST_REDOS = 999


class NotStartedError(Exception):
    """An execution could not be started; the text says why and what to do."""


@dataclass(frozen=True)
class Redriven:
    """A message of the dead-letter queue: the execution that it started now, or the reason why none.

    One that is not `handled` is still in the queue.
    """

    message_id: str
    handled: bool
    execution: str | None
    reason: str | None


def start_object(environment: Environment, address: str) -> str:
    """Start the execution of an object, `s3://BUCKET/KEY[?versionId=…]`, and return its name.

    It is the very execution that the object's own event would start; one that exists already is left as it is
    (see `redo`). Raises NotStartedError when there is no such object.
    """
    from botocore.exceptions import ClientError

    from workflow.trigger import UNVERSIONED, Arrival, shard_count, start

    bucket, key, version = parse_address(address)
    chosen = {"VersionId": version} if version else {}
    try:
        head = environment.client("s3").head_object(Bucket=bucket, Key=key, **chosen)
    except ClientError as error:
        raise NotStartedError(
            f"{address} cannot be read: {error.response['Error'].get('Message', error)}. "
            f"Look for it with: aws s3 ls s3://{bucket}/{environment.inbox_prefix}"
        ) from error
    size = head["ContentLength"]
    found = Arrival(
        bucket=bucket,
        key=key,
        version=head.get("VersionId", UNVERSIONED),
        etag=head["ETag"].strip('"'),
        bytes=size,
        shards=shard_count(key, size, environment.values),
    )
    return start(environment.client("stepfunctions"), environment.start_arn, found)


def parse_address(address: str) -> tuple[str, str, str | None]:
    """Return bucket, key and version of `s3://BUCKET/KEY[?versionId=…]`. Raises NotStartedError."""
    match = re.fullmatch(r"s3://([^/]+)/(.+?)(?:\?versionId=([^?&]+))?", address)
    if not match:
        raise NotStartedError(f"{address!r} is no address of an object: write s3://BUCKET/KEY.")
    return match[1], match[2], match[3]


def redo(environment: Environment, name: str) -> str:
    """Start an execution that has ended again, under a new name, and return that name.

    The new one has the same input and `redo_of`, the ARN of the old one. Raises NotStartedError while the old
    one still runs and when its object is gone, ExecutionMissingError when there is none.
    """
    old = get_execution(environment, name)
    if old.status not in TERMINAL:
        raise NotStartedError(f"{old.name} still runs: wait for it, or stop it with `ratesflow stop {old.name}`.")
    if is_gone(environment, old.input):
        raise NotStartedError(f"the version of {old.name} in the bucket is gone: send the file again.")
    client = environment.client("stepfunctions")
    request = json.dumps({**old.input, "redo_of": old.arn}, sort_keys=True)
    for new in _redo_names(old):
        try:
            client.start_execution(stateMachineArn=environment.start_arn, name=new, input=request)
        except client.exceptions.ExecutionAlreadyExists:
            continue
        return new
    raise NotStartedError(f"{old.name} has been redone {MOST_REDOS} times: upload the file again instead.")


def _redo_names(old: Execution) -> Iterator[str]:
    done = _REDO.search(old.name)
    base = _REDO.sub("", old.name)
    for number in range(int(done[1]) + 1 if done else 1, MOST_REDOS + 1):
        yield f"{base}-r{number}"


def redrive(environment: Environment) -> Iterator[Redriven]:
    """Start what lies in the dead-letter queue, message by message; what cannot be handled stays there."""
    from workflow.trigger import PoisonError, start_message

    sqs, url = environment.client("sqs"), environment["RATESFLOW_DEAD_LETTER_QUEUE_URL"]
    stepfunctions = environment.client("stepfunctions")
    settings = {
        **environment.values,
        "RATESFLOW_INBOX_PREFIX": environment.inbox_prefix,
        "RATESFLOW_STATE_MACHINE_ARN": environment.start_arn,
    }
    seen: set[str] = set()
    while messages := _receive(sqs, url, seen):
        for message in messages:
            seen.add(message["MessageId"])
            try:
                name = start_message(stepfunctions, message["Body"], settings)
            except PoisonError as poison:
                yield Redriven(message["MessageId"], False, None, str(poison))
                continue
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            yield Redriven(message["MessageId"], True, name, None if name else "passed over: it is no batch")


def _receive(sqs: Any, url: str, seen: set[str]) -> list[dict[str, Any]]:
    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
    return [message for message in received if message["MessageId"] not in seen]


def console_url(environment: Environment, name: str) -> str | None:
    """Return where a browser shows an execution: the stack's own console, or that of AWS."""
    arn = execution_arn(environment, name)
    if environment.is_local:
        home = environment.values.get("RATESFLOW_CONSOLE_URL")
        return f"{home.rstrip('/')}/executions/{arn.rsplit(':', 1)[1]}" if home else None
    region = arn.split(":")[3]
    return f"https://{region}.console.aws.amazon.com/states/home?region={region}#/v2/executions/details/{arn}"


def split_address(address: str) -> tuple[str, str]:
    """Return bucket and key of an `s3://` address such as a report's."""
    parts = urlsplit(address)
    return parts.netloc, parts.path.lstrip("/")
