"""S3's errors: those that a retry cannot help end a task at once, with a readable message without XML."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import botocore.session
import pytest

from ratesflow.loader.batches import s3
from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.batches.s3_errors import CODES, S3Error, meaning_of
from ratesflow.loader.runtime.errors import ClosedError, TaskError, TransientError, UsageError

CLASS, TIER = "<StorageClass>GLACIER</StorageClass>", "<AccessTier>ARCHIVE_ACCESS</AccessTier>"
# Status, code, more elements; the error that a reader ends with, and part of its message. (Amazon S3 API Reference,
# "Error responses" and GetObject; AWS KMS's exceptions as S3 passes them on.)
ANSWERS = [
    (403, "InvalidObjectState", CLASS, ClosedError, "the object is in storage class GLACIER: restore it first"),
    (
        403,
        "InvalidObjectState",
        f"<StorageClass>INTELLIGENT_TIERING</StorageClass>{TIER}",
        ClosedError,
        "storage class INTELLIGENT_TIERING, tier ARCHIVE_ACCESS: restore it first",
    ),
    (404, "NoSuchKey", "", ClosedError, "is gone: send the file again"),
    (404, "NoSuchVersion", "", ClosedError, "is gone: send the file again"),
    (405, "MethodNotAllowed", "", ClosedError, "is gone: send the file again"),
    (412, "PreconditionFailed", "", ClosedError, "changed while it was read"),
    (403, "AccessDenied", "", UsageError, "S3 denies access"),
    (404, "NoSuchBucket", "", UsageError, "there is no such bucket"),
    (400, "KMS.DisabledException", "", UsageError, "the KMS key of the object cannot be used"),
    (400, "KMS.NeverHeardOfException", "", UsageError, "the KMS key of the object cannot be used"),
    (403, "InvalidAccessKeyId", "", UsageError, "check its role"),
    (416, "InvalidRange", "", TaskError, "S3 rejected the request as invalid (InvalidRange: The <words> & more)"),
    (400, "ExpiredToken", "", TransientError, "ExpiredToken"),
    (403, "RequestTimeTooSkewed", "", TransientError, "RequestTimeTooSkewed"),
    (400, "RequestTimeout", "", TransientError, "RequestTimeout"),
    (503, "SlowDown", "", TransientError, "SlowDown"),
    (500, "InternalError", "", TransientError, "InternalError"),
]


class FailingS3(BaseHTTPRequestHandler):
    """Answers every request with one error; a response to HEAD has no body, as on AWS."""

    answer = (500, b"")
    requests = 0

    def do_GET(self) -> None:
        """Answer."""
        status, body = type(self).answer
        type(self).requests += 1
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_PUT = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of an S3 that fails."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), FailingS3)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def failing(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FailingS3]]:
    """An S3 that fails as set, and a client for it without pauses between retries."""
    for name, value in (("ENDPOINT_URL", endpoint), ("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3, "RETRIES", {"max_retries": 0})
    monkeypatch.setattr(s3, "ATTEMPTS", 2)
    s3.store.cache_clear()
    FailingS3.requests = 0
    yield FailingS3
    s3.store.cache_clear()


@pytest.mark.parametrize("key", ["incoming/prices.csv", "incoming//prices.csv"], ids=["usual", "odd key"])
@pytest.mark.parametrize(("status", "code", "more", "kind", "words"), ANSWERS, ids=[answer[1] for answer in ANSWERS])
def test_an_error_of_s3_ends_a_task_as_it_must(
    failing: type[FailingS3], key: str, status: int, code: str, more: str, kind: type[TaskError], words: str
) -> None:
    """Head and read raise the right kind of error, without XML; only transient errors are retried."""
    text = f"<Code>{code}</Code><Message>The &lt;words&gt; &amp; more</Message>{more}<RequestId>AB</RequestId>"
    failing.answer = status, f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{text}</Error>'.encode()
    batch = Batch("b", "bucket", key, "v1")
    for read in (lambda: s3.head(batch), lambda: list(s3.parts(batch, 0, 5))):
        failing.requests = 0
        with pytest.raises(TaskError) as failed:
            read()
        asked = failing.requests
        message = str(failed.value)
        assert type(failed.value) is kind, message
        assert words in message
        assert "bucket" in message
        assert not re.search(r"<(?!words)|RequestId|xml|status code", message)
        assert asked <= 3 or kind is TransientError
    if kind is not TransientError:
        assert asked == 1, "it was asked for again"


def test_writing_is_explained_too(failing: type[FailingS3]) -> None:
    """A denied write of a result ends the task at once, and the message names the missing permission."""
    failing.answer = 403, b"<Error><Code>AccessDenied</Code><Message>not authorized: s3:PutObject</Message></Error>"
    with pytest.raises(UsageError, match=r"cannot write s3://bucket/results/x: S3 denies.*not authorized: s3:PutObj"):
        s3.put("bucket", "results/x", b"data", "text/plain")
    assert failing.requests == 1


def test_every_code_of_the_reference_has_a_meaning() -> None:
    """The table has each code that AWS documents; those of 5xx are transient; the status decides about new codes."""
    model = botocore.session.get_session().get_service_model("s3")
    documented = model.shape_for("Error").members["Code"].documentation
    entries = re.findall(r"<i>Code:</i> (\w+)\s*</p>.*?<i>HTTP Status Code:</i> (?:<p>)?\s*(\d{3}|N/A)?", documented)
    assert len(entries) > 70
    assert {code for code, _ in entries} - CODES.keys() - {"N"} == set()
    assert {code for code, status in entries if status[:1] == "5"} <= {
        code for code, meaning in CODES.items() if meaning.error is TransientError or code == "NotImplemented"
    }
    assert meaning_of(S3Error("Unheard", 500)).error is TransientError
    assert meaning_of(S3Error("Unheard", 429)).error is TransientError
    assert meaning_of(S3Error("Unheard", 422)).error is TaskError
    assert meaning_of(S3Error(message="connection refused")).error is TransientError
