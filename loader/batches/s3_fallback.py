"""Batches whose keys obstore cannot name, though S3 takes them: `incoming//prices.csv`. boto3 reads these.

obstore's paths have no empty parts, no `.` or `..`, and no control characters.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ratesflow.loader.batches.batch import BLOCK_BYTES, Batch
from ratesflow.loader.batches.s3_errors import Answer, explained_of
from ratesflow.loader.runtime.errors import TaskError, TransientError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_ODD = re.compile(r"^/|//|/$|(^|/)\.{1,2}(/|$)|[\x00-\x1f\x7f]")


def needs_boto3(key: str) -> bool:
    """Return whether obstore cannot name this key."""
    return _ODD.search(key) is not None


def head(batch: Batch) -> dict[str, Any]:
    """Return the response of boto3's head_object. Raises what `s3.head` raises."""
    try:
        return _call(batch, "head_object")
    except TaskError:  # the response to HEAD has no body: only GET returns the reason
        _call(batch, "get_object", Range="bytes=0-0")
        raise


def blocks(batch: Batch, start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes from `start` to `stop` in blocks of 1 MiB. Raises OSError, and what `s3.parts` raises."""
    from botocore.exceptions import BotoCoreError

    body = _call(batch, "get_object", Range=f"bytes={start}-{stop - 1}")["Body"]
    try:
        yield from body.iter_chunks(BLOCK_BYTES)
    except BotoCoreError as error:
        raise OSError(str(error)) from error


def _call(batch: Batch, operation: str, **more: str) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError

    from ratesflow.loader.runtime import clients

    wanted = {"Bucket": batch.bucket, "Key": batch.key, **more}
    if batch.version not in ("", "null"):
        wanted["VersionId"] = batch.version
    if batch.etag:
        wanted["IfMatch"] = batch.etag
    try:
        answer: dict[str, Any] = getattr(clients.client("s3"), operation)(**wanted)
    except ClientError as error:
        raise _explained(batch, error) from error
    except BotoCoreError as error:
        raise TransientError(f"cannot read {batch.url}: {error}") from error
    return answer


def _explained(batch: Batch, error: "ClientError") -> TaskError:
    said = error.response["Error"]
    code, status = str(said.get("Code", "")), int(error.response["ResponseMetadata"].get("HTTPStatusCode", 0))
    if code.isdigit():  # botocore's own, of an answer without a body
        return explained_of(batch, Answer(status=int(code)))
    place = str(said.get("StorageClass", "")), str(said.get("AccessTier", ""))
    return explained_of(batch, Answer(code, status, str(said.get("Message", "")), *place))
