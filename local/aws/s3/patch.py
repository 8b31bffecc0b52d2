"""Patches moto's S3: objects are stored on disk and read in ranges, and their events are sent once they are complete.

moto 5.2.5 keeps objects in temporary files that are deleted with the server, reads a whole object to return a range,
and sends its event before the object can be read. moto is intended for tests within one process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3 import notifications
from moto.s3.models import FakeKey, S3Backend, s3_backends
from moto.s3.responses import S3Response

from ratesflow.local.aws.s3 import object_events, object_listing, object_uploads
from ratesflow.local.aws.s3.object_store import ObjectStore
from ratesflow.local.aws.s3.object_uploads import JoinedParts
from ratesflow.local.aws.settings import Settings

_CHUNK_BYTES = 1024 * 1024
SendEvent = Callable[..., None]
_Event = tuple[str, Any, Any, Any]  # account, name, bucket, key
_CREATED = "s3:ObjectCreated:"
_PUT = "s3:ObjectCreated:Put"
_COMPLETED = "s3:ObjectCreated:CompleteMultipartUpload"
_TAGGED = "s3:ObjectTagging:Put"


@dataclass
class _Changes:
    """The keys that one request has changed, and the events that it has yet to send."""

    keys: set[tuple[str, str]] = field(default_factory=set)
    events: list[_Event] = field(default_factory=list)


_changes: ContextVar[_Changes | None] = ContextVar("changes", default=None)
_reading: ContextVar[bool] = ContextVar("reading", default=False)


def install(settings: Settings) -> None:
    """Patch S3 in this process, and load the objects of an earlier server."""
    store = ObjectStore(settings.data_dir / "s3")
    store.load(s3_backends[DEFAULT_ACCOUNT_ID]["aws"])
    object_events.install()
    object_listing.install()
    _read_values_in_chunks()
    _record_changes()
    object_uploads.install()
    send = notifications.send_event
    notifications.send_event = _defer_events(send)
    S3Response.key_response = _persisting(S3Response.key_response, store, send)
    S3Response.bucket_response = _persisting(S3Response.bucket_response, store, send)


class _Slice:
    """A range of an object, read in chunks as it is sent; moto would read the whole object."""

    def __init__(self, key: FakeKey, start: int, stop: int) -> None:
        self._key, self._start, self._stop = key, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, wanted: slice) -> _Slice:
        start, stop, _ = wanted.indices(len(self))
        return _Slice(self._key, self._start + start, self._start + max(start, stop))

    def __iter__(self) -> Iterator[bytes]:
        for position in range(self._start, self._stop, _CHUNK_BYTES):
            with self._key.lock:
                self._key._value_buffer.seek(position)
                chunk = self._key._value_buffer.read(min(_CHUNK_BYTES, self._stop - position))
            yield chunk


def _read_values_in_chunks() -> None:
    whole = FakeKey.value
    get_object = S3Response.get_object

    def read(key: FakeKey) -> Any:
        return _Slice(key, 0, key.size) if _reading.get() else whole.fget(key)

    def write(key: FakeKey, value: Any) -> None:
        if isinstance(value, JoinedParts):
            key._value_buffer.close()
            key._value_buffer, key.contentsize = value.file, value.size
        else:
            whole.fset(key, value)

    def get_lazily(response: Any) -> Any:
        token = _reading.set(True)
        try:
            return get_object(response)
        finally:
            _reading.reset(token)

    FakeKey.value = property(read, write)
    S3Response.get_object = get_lazily


def _record_changes() -> None:
    """Record the keys that requests change; every change of a version calls one of these methods."""
    for name in ("put_object", "delete_object", "delete_object_tagging"):
        setattr(S3Backend, name, _recording(getattr(S3Backend, name)))
    tag = S3Backend.put_object_tagging

    def put_object_tagging(backend: S3Backend, key: Any, *rest: Any, **options: Any) -> Any:
        if (changes := _changes.get()) is not None and key is not None:
            changes.keys.add((key.bucket_name, key.name))
        return tag(backend, key, *rest, **options)

    S3Backend.put_object_tagging = put_object_tagging


def _recording(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def recording(backend: S3Backend, *arguments: Any, **options: Any) -> Any:
        bucket = options.get("bucket_name") or arguments[0]
        key = options.get("key_name") or arguments[1]
        if (changes := _changes.get()) is not None:
            changes.keys.add((bucket, key))
        return original(backend, *arguments, **options)

    return recording


def _defer_events(send: SendEvent) -> SendEvent:
    """Defer events to the end of the request: an event must not be sent before its object is stored."""

    def send_event(account_id: str, event_name: Any, bucket: Any, key: Any) -> None:
        changes = _changes.get()
        if changes is None:
            send(account_id, event_name, bucket, key)
            return
        changes.events.append((account_id, event_name, bucket, key))

    return send_event


def _without_duplicates(events: list[_Event]) -> list[_Event]:
    """Return one event per change: moto sends put, completed and tagging events for one multipart upload."""
    names = {name.value for _, name, _, _ in events}
    unwanted = set()
    if _COMPLETED in names:
        unwanted.add(_PUT)
    if any(name.startswith(_CREATED) for name in names):
        unwanted.add(_TAGGED)
    return [event for event in events if event[1].value not in unwanted]


def _persisting(respond: Callable[..., Any], store: ObjectStore, send: SendEvent) -> Callable[..., Any]:
    """Write a request's changes to disk before its response; then send its events."""

    def response(self: S3Response, request: Any, full_url: str, headers: Any) -> Any:
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return respond(self, request, full_url, headers)
        changes = _Changes()
        token = _changes.set(changes)
        try:
            result = respond(self, request, full_url, headers)
        finally:
            _changes.reset(token)
            for bucket_name, key_name in changes.keys:
                store.save_key(self.backend, bucket_name, key_name)
        if self.bucket_name:
            store.save_bucket(self.backend, self.bucket_name)
        for event in _without_duplicates(changes.events):
            send(*event)
        return result

    return response
