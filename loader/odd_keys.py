"""Batches whose keys obstore cannot name, though S3 takes them: `incoming//prices.csv`. boto3 reads these.

obstore's paths have no empty parts, no `.` or `..`, and no control characters.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from loader.batch import BLOCK_BYTES, Batch
from loader.errors import ClosedError, TransientError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_ODD = re.compile(r"^/|//|/$|(^|/)\.{1,2}(/|$)|[\x00-\x1f\x7f]")
GONE = {"404", "NoSuchKey", "NoSuchVersion", "NoSuchBucket", "MethodNotAllowed", "405"}
CHANGED = {"412", "PreconditionFailed"}


def is_odd(key: str) -> bool:
    """Tell whether obstore cannot name this key."""
    return _ODD.search(key) is not None


def head(batch: Batch) -> dict[str, Any]:
    """Return what boto3's head_object says. Raises ClosedError when the version is gone, TransientError."""
    return _call(batch, "head_object")


def blocks(batch: Batch, start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes from `start` to `stop` in blocks of 1 MiB. Raises ClosedError, TransientError, OSError."""
    from botocore.exceptions import BotoCoreError

    body = _call(batch, "get_object", Range=f"bytes={start}-{stop - 1}")["Body"]
    try:
        yield from body.iter_chunks(BLOCK_BYTES)
    except BotoCoreError as error:
        raise OSError(str(error)) from error


def _call(batch: Batch, operation: str, **more: str) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError

    from loader import aws

    wanted = {"Bucket": batch.bucket, "Key": batch.key, **more}
    if batch.version not in ("", "null"):
        wanted["VersionId"] = batch.version
    if batch.etag:
        wanted["IfMatch"] = batch.etag
    try:
        answer: dict[str, Any] = getattr(aws.client("s3"), operation)(**wanted)
    except ClientError as error:
        raise _explained(batch, error) from error
    except BotoCoreError as error:
        raise TransientError(f"cannot read {batch.url}: {error}") from error
    return answer


def _explained(batch: Batch, error: "ClientError") -> Exception:
    code = error.response["Error"]["Code"]
    if code in GONE:
        return ClosedError(f"version {batch.version} of {batch.url} is gone: send the file again")
    if code in CHANGED:
        return ClosedError(f"{batch.url} changed while it was read: send the file again")
    return TransientError(f"cannot read {batch.url}: {error}")
