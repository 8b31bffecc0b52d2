"""The Lambda function that starts one execution for each object that arrives: S3, EventBridge, SQS, here.

This file is the whole function: it needs boto3 and nothing else. The execution is a pure function of the
event and of the settings below, so that an event delivered twenty times, at once or out of order, starts one
execution. No message is lost: one that fails for a while returns to the queue; one that can never be handled
goes to the dead-letter queue with its `reason` as a message attribute.

Settings, from the environment of the function:

- RATESFLOW_STATE_MACHINE_ARN: the state machine to start, or its alias
- RATESFLOW_DEAD_LETTER_QUEUE_URL: where messages go that can never be handled; without it, they return to the queue,
  whose own redrive policy then moves them, without a reason
- RATESFLOW_INBOX_PREFIX: keys that do not begin with it are skipped (default `incoming/`)
- RATESFLOW_IGNORED_FILES: names of files and folders that are not batches, as patterns separated by commas, such as
  `_SUCCESS,*.tmp`: files that other tools put beside a file, or are still writing. They are skipped; every other file
  starts an execution, so that a file of a wrong kind is rejected with a reason. gc has the same setting
- RATESFLOW_SHARD_BYTES and RATESFLOW_MAX_SHARDS: a file larger than the first is split into shards of that many bytes,
  at most the second (default: never split). A file whose name says that it is compressed is not split

Keys that end with a slash are folders and are skipped. An empty file starts an execution: validation rejects it.
"""

import fnmatch
import functools
import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

LONGEST_START = 38
"""Characters of a file's name in the name of its execution; a hyphen and 16 hexadecimal digits follow."""

LARGEST_ARRAY = 10_000
COMPRESSED = (".gz", ".gzip")
UNVERSIONED = "null"
IGNORED_FILES = "RATESFLOW_IGNORED_FILES"
NEVER_STARTED = ("InvalidName", "InvalidExecutionInput", "ValidationException")

log = logging.getLogger("ratesflow.trigger")


class PoisonError(Exception):
    """A message that can never be handled; the text is the reason."""


@dataclass(frozen=True)
class ObjectCreated:
    """One object that arrived: the input of its execution."""

    bucket: str
    key: str
    version: str
    etag: str
    bytes: int
    shards: int = 1

    @property
    def execution_name(self) -> str:
        """Return the name of its execution. Without versions, the ETag distinguishes uploads."""
        return execution_name(self.bucket, self.key, self.etag if self.version == UNVERSIONED else self.version)

    @property
    def execution_input(self) -> str:
        """Return the input of its execution, always the same text."""
        return json.dumps(asdict(self), sort_keys=True)


def execution_name(bucket: str, key: str, version: str) -> str:
    """Return the name of the execution of one version of an object; give the ETag when it has none.

    It begins with the file's name, has at most 55 characters of A-Z, a-z, 0-9, `-` and `_`, and ends with 16
    hexadecimal digits of the SHA-256 of all three: it is valid on AWS, and no two objects share it.
    """
    digest = hashlib.sha256("\0".join((bucket, key, version)).encode("utf-8", "surrogatepass")).hexdigest()
    stem = PurePosixPath(PurePosixPath(key).name.removesuffix(".gz")).stem
    start = re.sub(r"[^A-Za-z0-9_]+", "-", stem).strip("-")[:LONGEST_START]
    return f"{start.rstrip('-') or 'batch'}-{digest[:16]}"


def object_created(event: Mapping[str, Any], settings: Mapping[str, str]) -> ObjectCreated | None:
    """Return the object of an `Object Created` event of S3, None if it is skipped.

    Raises PoisonError for any other event. EventBridge delivers keys unquoted; they are never unquoted again.
    """
    if event.get("source") != "aws.s3" or event.get("detail-type") != "Object Created":
        raise PoisonError(f"not an Object Created event of S3, but {event.get('detail-type')!r}")
    try:
        bucket, found = event["detail"]["bucket"]["name"], event["detail"]["object"]
        key, size = found["key"], int(found["size"])
        etag = found.get("etag") or found["eTag"]  # moto says eTag
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PoisonError(f"an invalid event of S3: {type(error).__name__}: {error}") from error
    prefix = settings.get("RATESFLOW_INBOX_PREFIX", "incoming/")
    if not key.startswith(prefix) or key.endswith("/") or is_ignored(key, settings.get(IGNORED_FILES, "")):
        return None
    version = found.get("version-id") or UNVERSIONED
    return ObjectCreated(bucket, key, version, etag, size, shard_count(key, size, settings))


def is_ignored(key: str, patterns: str) -> bool:
    """Return whether the name of the file, or of a folder above it, matches a pattern, ignoring case.

    loader/batches/inbox.py has the same rule, for gc: neither may import the other.
    """
    wanted = [pattern.strip().lower() for pattern in patterns.split(",") if pattern.strip()]
    return any(fnmatch.fnmatchcase(part, pattern) for part in key.lower().split("/") for pattern in wanted)


def shard_count(key: str, size: int, settings: Mapping[str, str]) -> int:
    """Return the number of shards for a file of `size` bytes; one for a compressed file, which one shard decompresses.

    The format shows in the bytes, which have not been read yet, so any other name may be that of a plain text file. A
    compressed file under such a name is read by its first shard alone, in the same time; the others digest their bytes.
    """
    shard_bytes = int(settings.get("RATESFLOW_SHARD_BYTES", "0"))
    most = min(int(settings.get("RATESFLOW_MAX_SHARDS", "1")), LARGEST_ARRAY)
    if shard_bytes <= 0 or key.lower().endswith(COMPRESSED):
        return 1
    return max(1, min(most, -(-size // shard_bytes)))


def start(stepfunctions: Any, state_machine_arn: str, found: ObjectCreated) -> str:
    """Start the execution of an object, unless it exists, and return its name.

    Raises PoisonError when AWS can never accept it, and botocore's errors when a later attempt may succeed.
    """
    name = found.execution_name
    try:
        stepfunctions.start_execution(stateMachineArn=state_machine_arn, name=name, input=found.execution_input)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in NEVER_STARTED:
            raise PoisonError(f"Step Functions cannot start it: {error}") from error
        if code != "ExecutionAlreadyExists":
            raise
    return name


def start_message(stepfunctions: Any, body: str, settings: Mapping[str, str]) -> str | None:
    """Start the execution of a message from the queue and return its name, None if the object is skipped.

    Raises PoisonError when it can never be handled, and botocore's errors when a later attempt may succeed.
    """
    found = read_message(body, settings)
    return start(stepfunctions, settings["RATESFLOW_STATE_MACHINE_ARN"], found) if found else None


def read_message(body: str, settings: Mapping[str, str]) -> ObjectCreated | None:
    """Return the object of a message from the queue, None if it is skipped. Raises PoisonError."""
    try:
        event = json.loads(body)
    except ValueError as error:
        raise PoisonError(f"not JSON: {error}") from error
    if not isinstance(event, dict):
        raise PoisonError(f"not an event, but {body[:80]!r}")
    return object_created(event, settings)


def handler(event: Mapping[str, Any], context: object) -> dict[str, list[dict[str, str]]]:  # noqa: ARG001
    """Handle a list of SQS messages; those in `batchItemFailures` stay in the queue."""
    log.setLevel(logging.INFO)
    return handle(event, os.environ, *_clients())


@functools.cache
def _clients() -> tuple[Any, Any]:
    return boto3.client("stepfunctions"), boto3.client("sqs")


def handle(
    event: Mapping[str, Any], settings: Mapping[str, str], stepfunctions: Any, sqs: Any
) -> dict[str, list[dict[str, str]]]:
    """Do the work of `handler` with the given clients and settings."""
    failures, skipped = [], 0
    for record in event["Records"]:
        try:
            skipped += not _handle_record(record, settings, stepfunctions, sqs)
        except (ClientError, BotoCoreError, PoisonError) as error:
            log.warning("message %s stays in the queue: %s", record["messageId"], error)
            failures.append({"itemIdentifier": record["messageId"]})
    if skipped:
        log.info("skipped %d of %d: ignored by name, or folders", skipped, len(event["Records"]))
    return {"batchItemFailures": failures}


def _handle_record(record: Mapping[str, Any], settings: Mapping[str, str], stepfunctions: Any, sqs: Any) -> bool:
    """Start the execution of a message, or move it to the dead-letter queue; return False if it is skipped."""
    try:
        name = start_message(stepfunctions, record["body"], settings)
        log.info("message %s: %s", record["messageId"], f"started {name}" if name else "skipped")
        return name is not None
    except PoisonError as poison:
        dead_letters = settings.get("RATESFLOW_DEAD_LETTER_QUEUE_URL")
        if not dead_letters:
            raise
        sqs.send_message(
            QueueUrl=dead_letters,
            MessageBody=record["body"] or "(empty)",
            MessageAttributes={"reason": {"DataType": "String", "StringValue": str(poison)[:500]}},
        )
        log.warning("message %s went to the dead-letter queue: %s", record["messageId"], poison)
        return True
