"""Objects in S3: a batch's bytes in parts, read ahead in bounded memory, and small documents."""

import json
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from loader.batch import BLOCK_BYTES, PART_BYTES, Batch
from loader.errors import ClosedError, TransientError

# Blocks that are fetched while one is worked on.
AHEAD = 2
ATTEMPTS = 4
GONE = {"404", "NoSuchKey", "NoSuchVersion", "NoSuchBucket", "MethodNotAllowed", "405"}
CHANGED = {"412", "PreconditionFailed"}


@dataclass(frozen=True)
class ObjectHead:
    """Size in bytes of an object, its ETag, and whether its sender asked to load it even if it was loaded before."""

    bytes: int
    forced: bool
    etag: str = ""


@lru_cache(maxsize=1)
def client() -> Any:
    """Return the S3 client of this process, which retries what passes."""
    return boto3.client(
        "s3",
        config=Config(retries={"mode": "standard", "max_attempts": ATTEMPTS}, read_timeout=60, connect_timeout=10),
    )


def head(batch: Batch) -> ObjectHead:
    """Look at the batch's object. Raises ClosedError when that version is gone."""
    try:
        answer = client().head_object(**_object(batch))
    except ClientError as error:
        raise _explained(batch, error) from error
    except BotoCoreError as error:
        raise TransientError(f"cannot reach {batch.url}: {error}") from error
    forced = answer["Metadata"].get("ratesflow-force", "").lower() == "true"
    return ObjectHead(answer["ContentLength"], forced, answer["ETag"])


def parts(batch: Batch, start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes from `start` to `stop` in blocks of 1 MiB, the last one shorter, reading ahead.

    Each part of 8 MiB is one request; while its blocks are used, the request for the next part is answered.
    Raises ClosedError when the version is gone, TransientError when it cannot be read.
    """
    waiting: deque[Future[bytes]] = deque()
    # Two threads, each with the parts of one request after another: a thread reads its blocks in their order.
    with ThreadPoolExecutor(1, "part") as even, ThreadPoolExecutor(1, "part") as odd:
        try:
            requests = [_Part(batch, at, min(at + PART_BYTES, stop)) for at in range(start, stop, PART_BYTES)]
            for number, part in enumerate(requests):
                now, later = (odd, even) if number % 2 else (even, odd)
                for following in requests[number + 1 : number + 2]:
                    later.submit(following.open)
                for _ in range(part.at, part.stop, BLOCK_BYTES):
                    waiting.append(now.submit(part.read))
                    if len(waiting) > AHEAD:
                        yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class _Part:
    """A range of the object over one request; a body that breaks off is asked for again from there."""

    def __init__(self, batch: Batch, start: int, stop: int) -> None:
        self.batch, self.at, self.stop = batch, start, stop
        self._body: Any = None

    def read(self) -> bytes:
        """Return the next block."""
        size = min(BLOCK_BYTES, self.stop - self.at)
        failure: Exception | None = None
        for _ in range(ATTEMPTS):  # the client retries requests, but not a body that breaks off
            try:
                data: bytes = self.open().read(size)
                if len(data) == size:
                    self.at += size
                    if self.at == self.stop:
                        self._body = None
                    return data
                failure = OSError(f"{len(data)} bytes of {size}")
            except ClientError as error:
                raise _explained(self.batch, error) from error
            except (BotoCoreError, OSError) as error:
                failure = error
            self._body = None
        raise TransientError(f"cannot read {self.batch.url} from byte {self.at}: {failure}") from failure

    def open(self) -> Any:
        """Send the request, unless it was sent, and return its body."""
        if self._body is None:
            wanted = f"bytes={self.at}-{self.stop - 1}"
            self._body = client().get_object(**_object(self.batch), Range=wanted)["Body"]
        return self._body


def _object(batch: Batch) -> dict[str, str]:
    found = {"Bucket": batch.bucket, "Key": batch.key}
    if batch.version not in ("", "null"):
        found["VersionId"] = batch.version
    if batch.etag:
        found["IfMatch"] = batch.etag
    return found


def _explained(batch: Batch, error: ClientError) -> Exception:
    code = error.response["Error"]["Code"]
    if code in GONE:
        return ClosedError(f"version {batch.version} of {batch.url} is gone: send the file again")
    if code in CHANGED:
        return ClosedError(f"{batch.url} changed while it was read: send the file again")
    return TransientError(f"cannot read {batch.url}: {error}")


def put_json(bucket: str, key: str, document: Any) -> None:
    """Store a document. Raises TransientError when S3 does not take it."""
    put(
        bucket,
        key,
        json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(),
        "application/json",
    )


def put(bucket: str, key: str, data: bytes, content_type: str) -> None:
    """Store bytes. Raises TransientError when S3 does not take them."""
    try:
        client().put_object(Bucket=bucket, Key=key, Body=data, ContentType=content_type)
    except (BotoCoreError, ClientError) as error:
        raise TransientError(f"cannot write s3://{bucket}/{key}: {error}") from error


def put_file(bucket: str, key: str, path: Path, content_type: str) -> None:
    """Store a file of any size. Raises TransientError when S3 does not take it."""
    try:
        client().upload_file(str(path), bucket, key, ExtraArgs={"ContentType": content_type})
    except (BotoCoreError, ClientError, boto3.exceptions.S3UploadFailedError) as error:
        raise TransientError(f"cannot write s3://{bucket}/{key}: {error}") from error


def get(bucket: str, key: str) -> bytes:
    """Fetch a small object whole. Raises KeyError when there is none, TransientError when S3 is away."""
    try:
        data: bytes = client().get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        # Without the right to list the bucket, a key that does not exist looks forbidden.
        if error.response["Error"]["Code"] in GONE | {"AccessDenied"}:
            raise KeyError(f"s3://{bucket}/{key}") from error
        raise TransientError(f"cannot read s3://{bucket}/{key}: {error}") from error
    except (BotoCoreError, OSError) as error:
        raise TransientError(f"cannot read s3://{bucket}/{key}: {error}") from error
    return data


def text_lines(bucket: str, key: str) -> Iterator[str]:
    """Yield the lines of a text in UTF-8, line ends included, without holding all of it."""
    body = client().get_object(Bucket=bucket, Key=key)["Body"]
    rest = b""
    for data in body.iter_chunks(1 << 20):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.decode() + "\n"
    if rest:
        yield rest.decode()
