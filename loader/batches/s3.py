"""Reads and writes objects in S3: the parts of a batch, read ahead in bounded memory, and small documents.

Uses obstore, which starts in 0.02 s; boto3 needs 0.25 s in each of a batch's three tasks.
"""

import json
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from ratesflow.loader.batches import s3_errors, s3_fallback
from ratesflow.loader.batches.batch import BLOCK_BYTES, PART_BYTES, Batch
from ratesflow.loader.runtime import watchdog
from ratesflow.loader.runtime.errors import TaskError, TransientError

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import ClientConfig, RetryConfig

# Blocks that are fetched ahead while one is processed.
AHEAD = 2
ATTEMPTS = 4
RETRIES: "RetryConfig" = {"max_retries": ATTEMPTS, "retry_timeout": timedelta(seconds=120)}
# A part is read as fast as the database takes it, so only the time without data has a short limit.
TIMEOUTS: "ClientConfig" = {"timeout": "1h", "read_timeout": "60s", "connect_timeout": "10s"}


@dataclass(frozen=True)
class ObjectHead:
    """An object's size in bytes, its ETag, and whether it is to be loaded even if it is a duplicate (`forced`)."""

    bytes: int
    forced: bool
    etag: str = ""


@lru_cache(maxsize=4)
def store(bucket: str) -> S3Store:
    """Return a client for a bucket; region, credentials and endpoint come from the usual environment variables."""
    custom_endpoint = bool(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"))
    return S3Store(
        bucket,
        # S3's certificate covers one label before its own name, so no bucket name with dots.
        virtual_hosted_style_request=not custom_endpoint and "." not in bucket,
        client_options={**TIMEOUTS, "allow_http": custom_endpoint},
        retry_config=RETRIES,
    )


def head(batch: Batch) -> ObjectHead:
    """Return the head of the batch's object. Raises ClosedError when that version is gone, and what `parts` raises."""
    if s3_fallback.needs_boto3(batch.key):
        found = s3_fallback.head(batch)
        return ObjectHead(found["ContentLength"], _forced(found["Metadata"]), found["ETag"])
    try:
        response = _request(batch, {"head": True})
    except (BaseError, OSError) as error:
        raise _head_error(batch, error) from error
    return ObjectHead(response.meta["size"], _forced(response.attributes), response.meta["e_tag"] or "")


def _head_error(batch: Batch, error: Exception) -> TaskError:
    """Return the error of a failed HEAD. Its response has no body, so a GET gets the reason."""
    try:
        _request(batch, {"range": (0, 1)})
    except (BaseError, OSError) as reason:
        return _batch_error(batch, reason)
    return TransientError(f"cannot read {batch.url}: {s3_errors.parse(_text(error)).message}")


def _forced(metadata: Any) -> bool:
    return str(metadata.get("ratesflow-force", "")).lower() == "true"


def parts(batch: Batch, start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes from `start` to `stop` in blocks of 1 MiB or slightly more; the last block of a part is shorter.

    Each part of 8 MiB is one request; the request for the next part is sent while the blocks of this one are processed.
    Raises ClosedError when the version is gone, changed or archived, UsageError when it may not be read, and
    TransientError when it cannot be read this time.
    """
    # Two threads take turns: one reads the blocks of a part in order while the other opens the next part.
    even, odd = ThreadPoolExecutor(1, "part"), ThreadPoolExecutor(1, "part")
    requests = [_Part(batch, at, min(at + PART_BYTES, stop)) for at in range(start, stop, PART_BYTES)]
    waiting: deque[Future[bytes]] = deque()
    try:
        for number, part in enumerate(requests):
            this, other = (odd, even) if number % 2 else (even, odd)
            for following in requests[number + 1 : number + 2]:
                other.submit(following.open)
            for _ in range(part.at, part.stop, BLOCK_BYTES):
                waiting.append(this.submit(part.read))
                if len(waiting) > AHEAD and (block := waiting.popleft().result()):
                    watchdog.alive()
                    yield block
        while waiting:
            if block := waiting.popleft().result():
                watchdog.alive()
                yield block
    finally:
        # Without waiting for the threads: an unfinished generator is closed by the garbage collector, which may run
        # in any thread, even in one that is starting and holds locks that an ending thread needs.
        for pool in (even, odd):
            pool.shutdown(wait=False, cancel_futures=True)


class _Part:
    """One request for a range of the object; if its body breaks off, the rest is requested again."""

    def __init__(self, batch: Batch, start: int, stop: int) -> None:
        self.batch, self.at, self.stop = batch, start, stop
        self._body: Iterator[Any] | None = None

    def read(self) -> bytes:
        """Return the next block, empty when there is none left."""
        if self.at == self.stop:
            return b""
        failure: Exception | None = None
        for _ in range(ATTEMPTS):  # obstore retries requests, but not a body that breaks off
            try:
                data = bytes(next(self.open(), b""))
                if len(data) >= BLOCK_BYTES or self.at + len(data) == self.stop:
                    self.at += len(data)
                    if self.at == self.stop:
                        self._body = None
                    return data
                failure = OSError("the response ended too early")
            except (BaseError, OSError) as error:
                failure = error
                task_error = _batch_error(self.batch, error)
                if not isinstance(task_error, TransientError):
                    raise task_error from error
            self._body = None
        assert failure is not None
        raise _error(f"cannot read {self.batch.url} from byte {self.at}", failure) from failure

    def open(self) -> Iterator[Any]:
        """Send the request, unless it is already sent, and return its body in blocks."""
        if self._body is None:
            if s3_fallback.needs_boto3(self.batch.key):
                self._body = s3_fallback.blocks(self.batch, self.at, self.stop)
            else:
                response = _request(self.batch, {"range": (self.at, self.stop)})
                self._body = iter(response.stream(min_chunk_size=BLOCK_BYTES))
        return self._body


def _request(batch: Batch, options: "GetOptions") -> "GetResult":
    if batch.version not in ("", "null"):
        options["version"] = batch.version
    if batch.etag:
        options["if_match"] = batch.etag
    return obstore.get(store(batch.bucket), batch.key, options=options)


def _batch_error(batch: Batch, error: Exception) -> TaskError:
    return s3_errors.batch_error(batch, s3_errors.parse(_text(error)))


def _error(action: str, error: Exception) -> TaskError:
    return s3_errors.task_error(action, s3_errors.parse(_text(error)))


def _text(error: Exception) -> str:
    """Return obstore's message without the debugging details after it."""
    return str(error).partition("\n\nDebug source")[0].strip()


def put_json(bucket: str, key: str, document: Any) -> None:
    """Store a document. Raises what `put` raises."""
    data = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    put(bucket, key, data, "application/json")


def put(bucket: str, key: str, data: bytes | Path | Iterator[bytes], content_type: str) -> None:
    """Store bytes, a file or blocks, in bounded memory.

    Raises TransientError when a retry may help, UsageError or TaskError when it cannot.
    """
    try:
        obstore.put(store(bucket), key, data, attributes={"Content-Type": content_type}, max_concurrency=2)
    except (BaseError, OSError) as error:
        raise _error(f"cannot write s3://{bucket}/{key}", error) from error


def get(bucket: str, key: str) -> bytes:
    """Return the bytes of a small object. Raises what `blocks` raises."""
    return b"".join(blocks(bucket, key))


def blocks(bucket: str, key: str) -> Iterator[bytes]:
    """Yield the bytes of an object in blocks.

    Raises KeyError when the object does not exist, TransientError when S3 is unavailable, UsageError when access is
    denied. Without permission to list the bucket, S3 denies access to an object that does not exist.
    """
    try:
        for block in obstore.get(store(bucket), key).stream(min_chunk_size=BLOCK_BYTES):
            watchdog.alive()
            yield bytes(block)
    except FileNotFoundError as error:
        raise KeyError(f"s3://{bucket}/{key}") from error
    except (BaseError, OSError) as error:
        raise _error(f"cannot read s3://{bucket}/{key}", error) from error


def text_lines(bucket: str, key: str) -> Iterator[str]:
    """Yield the lines of an object in UTF-8, with their line ends, in bounded memory."""
    rest = b""
    for data in blocks(bucket, key):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.decode() + "\n"
    if rest:
        yield rest.decode()
