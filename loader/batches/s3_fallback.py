"""Reads batches whose keys S3 allows but obstore does not, such as `incoming//prices.csv`, with boto3.

obstore allows no empty path segments, no `.` or `..`, and no control characters.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ratesflow.loader.batches.batch import BLOCK_BYTES, Batch
from ratesflow.loader.batches.s3_errors import S3Error, batch_error
from ratesflow.loader.runtime.errors import TaskError, TransientError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_UNSUPPORTED = re.compile(r"^/|//|/$|(^|/)\.{1,2}(/|$)|[\x00-\x1f\x7f]")


def needs_boto3(key: str) -> bool:
    """Return whether obstore does not allow this key."""
    return _UNSUPPORTED.search(key) is not None


def head(batch: Batch) -> dict[str, Any]:
    """Return the response of boto3's head_object. Raises what `s3.head` raises."""
    try:
        return _call(batch, "head_object")
    except TaskError:  # the response to HEAD has no body; a GET gets the reason
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


def _call(batch: Batch, operation: str, **options: str) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError

    from ratesflow.loader.runtime import clients

    parameters = {"Bucket": batch.bucket, "Key": batch.key, **options}
    if batch.version not in ("", "null"):
        parameters["VersionId"] = batch.version
    if batch.etag:
        parameters["IfMatch"] = batch.etag
    try:
        response: dict[str, Any] = getattr(clients.client("s3"), operation)(**parameters)
    except ClientError as error:
        raise _task_error(batch, error) from error
    except BotoCoreError as error:
        raise TransientError(f"cannot read {batch.url}: {error}") from error
    return response


def _task_error(batch: Batch, error: "ClientError") -> TaskError:
    details = error.response["Error"]
    code, status = str(details.get("Code", "")), int(error.response["ResponseMetadata"].get("HTTPStatusCode", 0))
    if code.isdigit():  # botocore sets the status as the code of a response without a body
        return batch_error(batch, S3Error(status=int(code)))
    place = str(details.get("StorageClass", "")), str(details.get("AccessTier", ""))
    return batch_error(batch, S3Error(code, status, str(details.get("Message", "")), *place))
