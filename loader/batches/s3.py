"""Objects in S3: a batch's bytes in parts, read ahead in bounded memory, and small documents.

obstore speaks to S3 here, since it starts in 0.02 s; boto3 needs 0.25 s, three times a batch.
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

# Blocks that are fetched while one is worked on.
AHEAD = 2
ATTEMPTS = 4
RETRIES: "RetryConfig" = {"max_retries": ATTEMPTS, "retry_timeout": timedelta(seconds=120)}
# A part is read as fast as the database takes it: the limit is for silence, not for the whole.
TIMES: "ClientConfig" = {"timeout": "1h", "read_timeout": "60s", "connect_timeout": "10s"}


@dataclass(frozen=True)
class ObjectHead:
    """Size in bytes of an object, its ETag, and whether its sender asked to load it even if it was loaded before."""

    bytes: int
    forced: bool
    etag: str = ""


@lru_cache(maxsize=4)
def store(bucket: str) -> S3Store:
    """Return a bucket as the environment says how to reach it: region, credentials, AWS_ENDPOINT_URL."""
    elsewhere = bool(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"))
    return S3Store(
        bucket,
        # A certificate of S3 is for one name before its own.
        virtual_hosted_style_request=not elsewhere and "." not in bucket,
        client_options={**TIMES, "allow_http": elsewhere},
        retry_config=RETRIES,
    )


def head(batch: Batch) -> ObjectHead:
    """Look at the batch's object. Raises ClosedError when that version is gone, and what `parts` raises."""
    if s3_fallback.needs_boto3(batch.key):
        found = s3_fallback.head(batch)
        return ObjectHead(found["ContentLength"], _forced(found["Metadata"]), found["ETag"])
    try:
        answer = _ask(batch, {"head": True})
    except (BaseError, OSError) as error:
        raise _why_no_head(batch, error) from error
    return ObjectHead(answer.meta["size"], _forced(answer.attributes), answer.meta["e_tag"] or "")


def _why_no_head(batch: Batch, error: Exception) -> TaskError:
    """Return why HEAD failed: its response has no body, so only GET returns the reason."""
    try:
        _ask(batch, {"range": (0, 1)})
    except (BaseError, OSError) as reason:
        return _explained(batch, reason)
    return TransientError(f"cannot look at {batch.url}: {s3_errors.parsed(_words(error)).message}")


def _forced(metadata: Any) -> bool:
    return str(metadata.get("ratesflow-force", "")).lower() == "true"


def parts(batch: Batch, start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes from `start` to `stop` in blocks of 1 MiB or a bit more, those that end a part shorter.

    Each part of 8 MiB is one request; while its blocks are used, the request for the next part is answered.
    Raises ClosedError when the version is gone, changed or archived, UsageError when it may not be read, and
    TransientError when it cannot be read this time.
    """
    # Two threads, each with the parts of one request after another: a thread reads its blocks in their order.
    even, odd = ThreadPoolExecutor(1, "part"), ThreadPoolExecutor(1, "part")
    requests = [_Part(batch, at, min(at + PART_BYTES, stop)) for at in range(start, stop, PART_BYTES)]
    waiting: deque[Future[bytes]] = deque()
    try:
        for number, part in enumerate(requests):
            now, later = (odd, even) if number % 2 else (even, odd)
            for following in requests[number + 1 : number + 2]:
                later.submit(following.open)
            for _ in range(part.at, part.stop, BLOCK_BYTES):
                waiting.append(now.submit(part.read))
                if len(waiting) > AHEAD and (block := waiting.popleft().result()):
                    watchdog.alive()
                    yield block
        while waiting:
            if block := waiting.popleft().result():
                watchdog.alive()
                yield block
    finally:
        # Without waiting for the threads. Blocks that nobody reads to their end are closed by the garbage collector,
        # in any thread and at any point: there, one that begins holds locks that one which ends has to take.
        for pool in (even, odd):
            pool.shutdown(wait=False, cancel_futures=True)


class _Part:
    """A range of the object over one request; a body that breaks off is asked for again from there."""

    def __init__(self, batch: Batch, start: int, stop: int) -> None:
        self.batch, self.at, self.stop = batch, start, stop
        self._body: Iterator[Any] | None = None

    def read(self) -> bytes:
        """Return the next block, empty when there is none left."""
        if self.at == self.stop:
            return b""
        failure: Exception | None = None
        for _ in range(ATTEMPTS):  # the client retries requests, but not a body that breaks off
            try:
                data = bytes(next(self.open(), b""))
                if len(data) >= BLOCK_BYTES or self.at + len(data) == self.stop:
                    self.at += len(data)
                    if self.at == self.stop:
                        self._body = None
                    return data
                failure = OSError("the answer ended too early")
            except (BaseError, OSError) as error:
                failure = error
                explained = _explained(self.batch, error)
                if not isinstance(explained, TransientError):
                    raise explained from error
            self._body = None
        assert failure is not None
        raise _failed(f"cannot read {self.batch.url} from byte {self.at}", failure) from failure

    def open(self) -> Iterator[Any]:
        """Send the request, unless it was sent, and return its body in blocks."""
        if self._body is None:
            if s3_fallback.needs_boto3(self.batch.key):
                self._body = s3_fallback.blocks(self.batch, self.at, self.stop)
            else:
                answer = _ask(self.batch, {"range": (self.at, self.stop)})
                self._body = iter(answer.stream(min_chunk_size=BLOCK_BYTES))
        return self._body


def _ask(batch: Batch, wanted: "GetOptions") -> "GetResult":
    if batch.version not in ("", "null"):
        wanted["version"] = batch.version
    if batch.etag:
        wanted["if_match"] = batch.etag
    return obstore.get(store(batch.bucket), batch.key, options=wanted)


def _explained(batch: Batch, error: Exception) -> TaskError:
    return s3_errors.explained_of(batch, s3_errors.parsed(_words(error)))


def _failed(doing: str, error: Exception) -> TaskError:
    return s3_errors.explained(doing, s3_errors.parsed(_words(error)))


def _words(error: Exception) -> str:
    """Return what obstore says for people, without the insides that it adds below."""
    return str(error).partition("\n\nDebug source")[0].strip()


def put_json(bucket: str, key: str, document: Any) -> None:
    """Store a document. Raises what `put` raises."""
    data = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    put(bucket, key, data, "application/json")


def put(bucket: str, key: str, data: bytes | Path | Iterator[bytes], content_type: str) -> None:
    """Store bytes, a file or blocks, in bounded memory.

    Raises TransientError when S3 does not take them this time, UsageError or TaskError when it never will.
    """
    try:
        obstore.put(store(bucket), key, data, attributes={"Content-Type": content_type}, max_concurrency=2)
    except (BaseError, OSError) as error:
        raise _failed(f"cannot write s3://{bucket}/{key}", error) from error


def get(bucket: str, key: str) -> bytes:
    """Fetch a small object whole. Raises what `blocks` raises."""
    return b"".join(blocks(bucket, key))


def blocks(bucket: str, key: str) -> Iterator[bytes]:
    """Yield the bytes of an object in blocks.

    Raises KeyError when there is none, TransientError when S3 is away, UsageError when it may not be read. S3 says
    that there is none only to those who may list the bucket.
    """
    try:
        for block in obstore.get(store(bucket), key).stream(min_chunk_size=BLOCK_BYTES):
            watchdog.alive()
            yield bytes(block)
    except FileNotFoundError as error:
        raise KeyError(f"s3://{bucket}/{key}") from error
    except (BaseError, OSError) as error:
        raise _failed(f"cannot read s3://{bucket}/{key}", error) from error


def text_lines(bucket: str, key: str) -> Iterator[str]:
    """Yield the lines of a text in UTF-8, line ends included, without holding all of it."""
    rest = b""
    for data in blocks(bucket, key):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.decode() + "\n"
    if rest:
        yield rest.decode()
