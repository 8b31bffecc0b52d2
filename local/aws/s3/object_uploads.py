"""Patches moto's multipart uploads, which keep several copies of an object in memory and leak its parts.

moto 5.2.5 joins the parts in one bytes object and keeps each part's own copy after the upload is complete. No upstream
issue is known.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

from moto.s3.exceptions import EntityTooSmall, InvalidPart, MalformedXML
from moto.s3.models import FakeKey, FakeMultipart, MultipartChecksumBuilder, S3Backend
from moto.settings import S3_UPLOAD_PART_MIN_SIZE

_CHUNK_BYTES = 1024 * 1024


class JoinedParts:
    """The value of an object that was uploaded in parts: a file with all of them, which the object then owns."""

    def __init__(self, parts: list[FakeKey]) -> None:
        self.size = sum(part.size for part in parts)
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the object that owns it
        for part in parts:
            with part.lock:
                part._value_buffer.seek(0)
                shutil.copyfileobj(part._value_buffer, self.file, _CHUNK_BYTES)


def install() -> None:
    """Patch uploads in this process. `FakeKey.value` must accept JoinedParts."""
    FakeMultipart.complete = _complete
    _free_parts()


def _complete(upload: FakeMultipart, body: Iterable[tuple[int, str]]) -> tuple[JoinedParts, str, Any]:
    """Check the parts as moto does, and join them without reading them into memory.

    The ETag is the MD5 of the parts' MD5s and their number. A checksum of the whole object is not computed: it would
    read all bytes, and moto does not support the default one, CRC64NVME.
    """
    parts = list(_listed(upload, body))
    if not parts:
        raise MalformedXML
    if any(part.size < S3_UPLOAD_PART_MIN_SIZE for part in parts[:-1]):
        raise EntityTooSmall
    digests = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
    etag = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
    checksum = MultipartChecksumBuilder(
        upload.metadata.get("x-amz-checksum-algorithm"), upload.metadata.get("x-amz-checksum-type")
    )
    if checksum.checksum_type != "COMPOSITE":
        return JoinedParts(parts), etag, None
    for part in parts:
        checksum.addPart(part.value)
    return JoinedParts(parts), etag, checksum.build()


def _listed(upload: FakeMultipart, body: Iterable[tuple[int, str]]) -> Iterator[FakeKey]:
    for number, etag in body:
        part = upload.parts.get(number)
        if part is None or part.etag.strip('"') != etag.strip('"'):
            raise InvalidPart
        yield part


def _free_parts() -> None:
    complete = S3Backend.complete_multipart_upload
    abort = S3Backend.abort_multipart_upload

    def complete_upload(backend: S3Backend, bucket_name: str, multipart_id: str, body: Any) -> Any:
        upload = backend.get_bucket(bucket_name).multiparts.get(multipart_id)
        key = complete(backend, bucket_name, multipart_id, body)
        if key is not None:
            _free(upload)
        return key

    def abort_upload(backend: S3Backend, bucket_name: str, multipart_id: str) -> None:
        upload = backend.get_bucket(bucket_name).multiparts.get(multipart_id)
        abort(backend, bucket_name, multipart_id)
        _free(upload)

    S3Backend.complete_multipart_upload = complete_upload
    S3Backend.abort_multipart_upload = abort_upload


def _free(upload: FakeMultipart) -> None:
    """Release the parts, which moto has closed but keeps in a list of all objects ever created."""
    for part in upload.parts.values():
        FakeKey.instances_tracked.remove(part)
    upload.parts.clear()
    upload.partlist.clear()
