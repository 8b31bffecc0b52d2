"""Starts executions by hand: of an object that lies there, of one that ended, of what the trigger put aside."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.executions import TERMINAL, ExecutionMissingError, execution_arn, get_execution
from ratesflow.workflow.client.next_steps import is_gone

if TYPE_CHECKING:
    from ratesflow.workflow.trigger import ObjectCreated

_REDO = re.compile(r"-r(\d+)$")
MOST_REDOS = 999
LEFT_AS_THEY_ARE = ("running", "committed", "duplicate")
# Step Functions forgets executions after 90 days, and their names are free again; the ledger remembers its batches.
REMEMBERED = timedelta(days=85)


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

    It is the very execution that the object's own event would start. One that runs, or whose batch is committed, is
    left as it is; after one that ended otherwise, it is a redo of that. Raises NotStartedError when there is no such
    object.
    """
    from botocore.exceptions import ClientError

    from ratesflow.workflow.trigger import UNVERSIONED, ObjectCreated, shard_count

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
    found = ObjectCreated(
        bucket=bucket,
        key=key,
        version=head.get("VersionId", UNVERSIONED),
        etag=head["ETag"].strip('"'),
        bytes=size,
        shards=shard_count(key, size, environment.values),
    )
    forgotten = datetime.now(UTC) - head["LastModified"] > REMEMBERED
    return start_arrival(environment, found, _in_ledger(environment, found.execution_name) if forgotten else ())


def start_arrival(environment: Environment, found: "ObjectCreated", taken: Collection[str] = ()) -> str:
    """Start the execution of an arrival, or a redo of it if it has ended, and return its name.

    `taken` are the names that the ledger has, for an arrival that Step Functions may have forgotten. Raises
    NotStartedError when it was redone too often.
    """
    from ratesflow.workflow.trigger import start

    name = found.execution_name
    try:
        old = get_execution(environment, name)
    except ExecutionMissingError:
        if name not in taken:
            return start(environment.client("stepfunctions"), environment.start_arn, found)
        return _start_again(environment, name, execution_arn(environment, name), asdict(found), taken)
    if old.outcome in LEFT_AS_THEY_ARE:
        return name
    return _start_again(environment, name, old.arn, old.input, taken)


def _in_ledger(environment: Environment, name: str) -> set[str]:
    """Return the names in the ledger of a batch and its redos."""
    from ratesflow.workflow.client.run_task import run_task

    rows = run_task(environment, "ledger", {"batch": name, "limit": str(MOST_REDOS + 1)})["data"] or []
    return {row["batch_id"] for row in rows}


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
    return _start_again(environment, old.name, old.arn, old.input)


def _start_again(
    environment: Environment, name: str, arn: str, given: Mapping[str, Any], taken: Collection[str] = ()
) -> str:
    """Start an execution with the input of one that has ended, under the next name that is free."""
    client = environment.client("stepfunctions")
    request = json.dumps({**given, "redo_of": arn}, sort_keys=True)
    for new in _redo_names(name):
        if new in taken:
            continue
        try:
            client.start_execution(stateMachineArn=environment.start_arn, name=new, input=request)
        except client.exceptions.ExecutionAlreadyExists:
            continue
        return new
    raise NotStartedError(f"{name} has been redone {MOST_REDOS} times: upload the file again instead.")


def _redo_names(name: str) -> Iterator[str]:
    done = _REDO.search(name)
    base = _REDO.sub("", name)
    for number in range(int(done[1]) + 1 if done else 1, MOST_REDOS + 1):
        yield f"{base}-r{number}"


def redrive(environment: Environment) -> Iterator[Redriven]:
    """Start what lies in the dead-letter queue, message by message; what cannot be handled stays there."""
    from ratesflow.workflow.trigger import PoisonError, read_message

    sqs, url = environment.client("sqs"), environment["RATESFLOW_DEAD_LETTER_QUEUE_URL"]
    settings = {**environment.values, "RATESFLOW_INBOX_PREFIX": environment.inbox_prefix}
    seen: set[str] = set()
    while messages := _receive(sqs, url, seen):
        for message in messages:
            seen.add(message["MessageId"])
            try:
                found = read_message(message["Body"], settings)
                name = start_arrival(environment, found) if found else None
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
