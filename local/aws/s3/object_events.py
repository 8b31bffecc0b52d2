"""Sends S3 events to EventBridge in AWS's format.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

from __future__ import annotations

import itertools
import time
import uuid
from typing import Any

from moto.core.utils import unix_time
from moto.events.models import events_backends
from moto.s3 import notifications

_CREATED = "s3:ObjectCreated:"
_REMOVED = "s3:ObjectRemoved:"
_REASONS = {
    "s3:ObjectCreated:Put": "PutObject",
    "s3:ObjectCreated:Post": "POST Object",
    "s3:ObjectCreated:Copy": "CopyObject",
    "s3:ObjectCreated:CompleteMultipartUpload": "CompleteMultipartUpload",
    "s3:ObjectRemoved:Delete": "DeleteObject",
}
# Later events of a key have a larger sequencer, across restarts too.
_sequence = itertools.count(time.time_ns())


def install() -> None:
    """Replace moto's event, which has `eTag` and `ObjectCreated`, and always the same sequencer and id."""
    notifications._send_event_bridge_message = _send


def _send(account_id: str, bucket: Any, event_name: Any, key: Any) -> None:
    name = str(event_name.value)
    event = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": notifications._detail_type(event_name),
        "source": "aws.s3",
        "account": account_id,
        "time": unix_time(),  # moto formats it on delivery
        "region": bucket.region_name,
        "resources": [bucket.arn],
        "detail": _detail(account_id, bucket, name, key),
    }
    backend = events_backends[account_id][bucket.region_name]
    for bus in backend.event_buses.values():
        for rule in list(bus.rules.values()):
            rule.send_to_targets(event, transform_input=False)


def _detail(account_id: str, bucket: Any, name: str, key: Any) -> dict[str, Any]:
    entry = {"key": key.name, "size": key.size, "etag": key.etag.strip('"')}
    if name.startswith(_REMOVED):
        del entry["size"]
    if key.version_id != "null":  # AWS omits it for a bucket without versioning
        entry["version-id"] = key.version_id
    entry["sequencer"] = f"{next(_sequence):018X}"
    detail = {
        "version": "0",
        "bucket": {"name": bucket.name},
        "object": entry,
        "request-id": uuid.uuid4().hex[:16].upper(),
        "requester": account_id,
        "source-ip-address": "127.0.0.1",
    }
    if name in _REASONS:
        detail["reason"] = _REASONS[name]
    if name.startswith(_REMOVED):
        detail["deletion-type"] = "Permanently Deleted"
    return detail
