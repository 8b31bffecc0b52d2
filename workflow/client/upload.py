"""Uploads a file to the inbox; the event of the upload starts its execution."""

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.errors import NotStartedError
from ratesflow.workflow.client.start import object_created

if TYPE_CHECKING:
    from ratesflow.workflow.trigger import ObjectCreated

FORCE = "ratesflow-force"
TOKEN = "ratesflow-upload"  # noqa: S105 a name, not a secret


def upload(
    environment: Environment,
    file: Path,
    *,
    key: str | None = None,
    force: bool = False,
    sent: Callable[[int], None] | None = None,
) -> "ObjectCreated":
    """Upload a file to the inbox and return the object, whose event starts the execution.

    Without a `key` it gets its own name in the inbox. `sent` gets the number of bytes of each piece. With `force` the
    batch may hold bytes that are already committed. Raises NotStartedError when its version cannot be found, because
    others have overwritten the same key.
    """
    s3, bucket = environment.client("s3"), environment.bucket
    key = key or f"{environment.inbox_prefix}{file.name}"
    token = uuid.uuid4().hex
    metadata = {TOKEN: token} | ({FORCE: "true"} if force else {})
    s3.upload_file(str(file), bucket, key, ExtraArgs={"Metadata": metadata}, Callback=sent)
    head = _find(s3, bucket, key, token)
    return object_created(environment.values, bucket, {**head, "Key": key, "Size": head["ContentLength"]})


def _find(s3: Any, bucket: str, key: str, token: str) -> Mapping[str, Any]:
    """Return the head of the version with the token: upload_file does not return the version that it wrote."""
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
        f"s3://{bucket}/{key} was overwritten at once by another file with that name: rename yours and ingest it again."
    )
