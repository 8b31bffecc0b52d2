"""Starts executions without an event: of an object in the bucket, again, and from the dead-letter queue."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.errors import ExecutionMissingError, NotStartedError
from ratesflow.workflow.client.executions import TERMINAL, execution_arn, get_execution
from ratesflow.workflow.client.next_steps import is_gone

if TYPE_CHECKING:
    from ratesflow.workflow.trigger import ObjectCreated

_REDO = re.compile(r"-r(\d+)$")
MAX_REDOS = 999
NOT_REDONE = ("running", "committed", "duplicate")
# Step Functions deletes executions after 90 days, and their names are free again; the ledger keeps its batches.
RETENTION = timedelta(days=85)


@dataclass(frozen=True)
class Redriven:
    """A message of the dead-letter queue: the execution that it has started, or the reason why it has not.

    A message that is not `handled` is still in the queue.
    """

    message_id: str
    handled: bool
    execution: str | None
    reason: str | None


def start_object(environment: Environment, address: str) -> str:
    """Start the execution of an object, `s3://BUCKET/KEY[?versionId=…]`, and return its name.

    It is the same execution that the object's own event starts. An execution that is running, or whose batch is
    committed, is left unchanged; one that ended otherwise is redone. Raises NotStartedError when there is no such
    object.
    """
    from botocore.exceptions import ClientError

    bucket, key, version = parse_address(address)
    chosen = {"VersionId": version} if version else {}
    try:
        head = environment.client("s3").head_object(Bucket=bucket, Key=key, **chosen)
    except ClientError as error:
        raise NotStartedError(
            f"{address} cannot be read: {error.response['Error'].get('Message', error)}. "
            f"Look for it with: aws s3 ls s3://{bucket}/{key[: key.rfind('/') + 1]}"
        ) from error
    found = object_created(environment.values, bucket, {**head, "Key": key, "Size": head["ContentLength"]})
    expired = datetime.now(UTC) - head["LastModified"] > RETENTION
    return start_or_rerun(environment, found, _names_in_ledger(environment, found.execution_name) if expired else ())


def object_created(values: Mapping[str, str], bucket: str, entry: Mapping[str, Any]) -> "ObjectCreated":
    """Return the input of the execution of an object, from its entry in a listing of S3 (Key, Size, ETag, VersionId).

    `values` has the settings of the trigger, which split a large object into shards.
    """
    from ratesflow.workflow.trigger import UNVERSIONED, ObjectCreated, shard_count

    return ObjectCreated(
        bucket=bucket,
        key=entry["Key"],
        version=entry.get("VersionId", UNVERSIONED),
        etag=entry["ETag"].strip('"'),
        bytes=entry["Size"],
        shards=shard_count(entry["Key"], entry["Size"], values),
    )


def start_or_rerun(environment: Environment, found: "ObjectCreated", taken: Collection[str] = ()) -> str:
    """Start the execution of an object, or redo it if it has ended, and return its name.

    `taken` are the names in the ledger, for an object whose execution Step Functions may have deleted. Raises
    NotStartedError when it was redone too often.
    """
    from ratesflow.workflow.trigger import start

    name = found.execution_name
    try:
        old = get_execution(environment, name)
    except ExecutionMissingError:
        if name not in taken:
            return start(environment.client("stepfunctions"), environment.start_arn, found)
        return _start_next(environment, name, execution_arn(environment, name), asdict(found), taken)
    if old.outcome in NOT_REDONE:
        return name
    return _start_next(environment, name, old.arn, old.input, taken)


def _names_in_ledger(environment: Environment, name: str) -> set[str]:
    """Return the names in the ledger of a batch and its redos."""
    from ratesflow.workflow.client.run_task import run_task

    rows = run_task(environment, "ledger", {"batch": name, "limit": str(MAX_REDOS + 1)})["data"] or []
    return {row["batch_id"] for row in rows}


def parse_address(address: str) -> tuple[str, str, str | None]:
    """Return bucket, key and version of `s3://BUCKET/KEY[?versionId=…]`. Raises NotStartedError."""
    match = re.fullmatch(r"s3://([^/]+)/(.+?)(?:\?versionId=([^?&]+))?", address)
    if not match:
        raise NotStartedError(f"{address!r} is not an S3 URI: write s3://BUCKET/KEY.")
    return match[1], match[2], match[3]


def rerun(environment: Environment, name: str) -> str:
    """Run an execution that has ended again, under a new name, and return that name.

    The new execution has the same input and `redo_of`, the ARN of the old one. Raises NotStartedError while the old
    one still runs and when its object no longer exists, ExecutionMissingError when there is no such execution.
    """
    old = get_execution(environment, name)
    if old.status not in TERMINAL:
        raise NotStartedError(f"{old.name} still runs: wait for it, or stop it with `ratesflow stop {old.name}`.")
    if is_gone(environment, old.input):
        raise NotStartedError(f"the version of {old.name} is no longer in the bucket: ingest the file again.")
    return _start_next(environment, old.name, old.arn, old.input)


def _start_next(
    environment: Environment, name: str, arn: str, given: Mapping[str, Any], taken: Collection[str] = ()
) -> str:
    """Start an execution with the input of one that has ended, under the next free name."""
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
    raise NotStartedError(f"{name} has been redone {MAX_REDOS} times: upload the file again instead.")


def _redo_names(name: str) -> Iterator[str]:
    done = _REDO.search(name)
    base = _REDO.sub("", name)
    for number in range(int(done[1]) + 1 if done else 1, MAX_REDOS + 1):
        yield f"{base}-r{number}"


def redrive(environment: Environment) -> Iterator[Redriven]:
    """Retry the events in the dead-letter queue one by one; what cannot be handled stays there."""
    from ratesflow.workflow.trigger import PoisonError, read_message

    sqs, url = environment.client("sqs"), environment["RATESFLOW_DEAD_LETTER_QUEUE_URL"]
    settings = {**environment.values, "RATESFLOW_INBOX_PREFIX": environment.inbox_prefix}
    seen: set[str] = set()
    while messages := _receive(sqs, url, seen):
        for message in messages:
            seen.add(message["MessageId"])
            try:
                found = read_message(message["Body"], settings)
                name = start_or_rerun(environment, found) if found else None
            except PoisonError as poison:
                yield Redriven(message["MessageId"], False, None, str(poison))
                continue
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            yield Redriven(message["MessageId"], True, name, None if name else "skipped: it is not a batch")


def _receive(sqs: Any, url: str, seen: set[str]) -> list[dict[str, Any]]:
    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
    return [message for message in received if message["MessageId"] not in seen]


def console_url(environment: Environment, name: str) -> str | None:
    """Return the page of an execution: in the stack's own console, or in that of AWS."""
    arn = execution_arn(environment, name)
    if environment.is_local:
        home = environment.values.get("RATESFLOW_CONSOLE_URL")
        return f"{home.rstrip('/')}/executions/{arn.rsplit(':', 1)[1]}" if home else None
    region = arn.split(":")[3]
    return f"https://{region}.console.aws.amazon.com/states/home?region={region}#/v2/executions/details/{arn}"
