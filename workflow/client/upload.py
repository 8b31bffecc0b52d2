"""Sends a file to the inbox; the event of the upload itself starts its execution."""

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.start import NotStartedError

FORCE = "ratesflow-force"
TOKEN = "ratesflow-upload"  # noqa: S105 a name, no secret


def upload(
    environment: Environment,
    file: Path,
    *,
    key: str | None = None,
    force: bool = False,
    sent: Callable[[int], None] | None = None,
) -> Mapping[str, Any]:
    """Upload a file to the inbox and return `bucket`, `key`, `version`, `etag`, `bytes`.

    Without a `key` it lies in the inbox under its own name.
    `sent` is told the bytes of each piece that has gone. With `force` the batch may hold bytes that are
    committed already. Raises NotStartedError when others wrote the same key so often that it cannot be found.
    """
    s3, bucket = environment.client("s3"), environment.bucket
    key = key or f"{environment.inbox_prefix}{file.name}"
    token = uuid.uuid4().hex
    metadata = {TOKEN: token} | ({FORCE: "true"} if force else {})
    s3.upload_file(str(file), bucket, key, ExtraArgs={"Metadata": metadata}, Callback=sent)
    head = _find(s3, bucket, key, token)
    return {
        "bucket": bucket,
        "key": key,
        "version": head.get("VersionId", "null"),
        "etag": head["ETag"].strip('"'),
        "bytes": head["ContentLength"],
    }


def _find(s3: Any, bucket: str, key: str, token: str) -> Mapping[str, Any]:
    """Return the head of the version that bears the token: upload_file does not say which one it wrote."""
    head: Mapping[str, Any] = s3.head_object(Bucket=bucket, Key=key)
    if head["Metadata"].get(TOKEN) == token:
        return head
    versions = s3.list_object_versions(Bucket=bucket, Prefix=key).get("Versions", [])
    for version in versions:
        if version["Key"] == key:
            head = s3.head_object(Bucket=bucket, Key=key, VersionId=version["VersionId"])
            if head["Metadata"].get(TOKEN) == token:
                return head
    raise NotStartedError(
        f"s3://{bucket}/{key} was overwritten at once by somebody else's file of that name: "
        "rename yours and ingest it again."
    )
