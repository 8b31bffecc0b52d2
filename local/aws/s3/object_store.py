"""Stores the objects of every bucket on disk, so that they survive the server, even a crash.

Each bucket has one directory: `bucket.json`, the bytes of each version under `data/`, and for each key one manifest
under `keys/`, which lists its versions. Replacing the manifest commits a change.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import shutil
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moto.s3.models import FakeDeleteMarker, FakeKey, S3Backend

_LOCKS = 64
# The attributes of a version, apart from its bytes, metadata and date.
_FIELDS = (
    "_version_id",
    "_is_versioned",
    "_etag",
    "_storage_class",
    "contentsize",
    "checksum_algorithm",
    "checksum_type",
    "checksum_value",
    "checksum_parts",
    "encryption",
    "kms_key_id",
    "bucket_key_enabled",
    "website_redirect_location",
)


class StoredValue:
    """The bytes of one version, in place of moto's buffer: read from disk on demand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0

    def seek(self, position: int) -> None:
        """Move to a byte position from the start."""
        self._position = position

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, or all remaining ones."""
        with self.path.open("rb") as file:
            file.seek(self._position)
            data = file.read(size)
        self._position += len(data)
        return data

    def close(self) -> None:
        """Do nothing: no file is open between reads, and the store deletes it when no manifest names it."""


class ObjectStore:
    """The directory of a server's buckets."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        directory.mkdir(parents=True, exist_ok=True)

    def save_bucket(self, backend: S3Backend, name: str) -> None:
        """Update the bucket's entry, or remove the directory of a deleted bucket."""
        path = self._directory / name / "bucket.json"
        bucket = backend.buckets.get(name)
        if bucket is None:
            if path.exists():  # the name comes from a request: for "..", nothing is removed
                shutil.rmtree(path.parent)
            return
        entry = {
            "region": bucket.region_name,
            "created": bucket.creation_date.isoformat(),
            "versioning": bucket.versioning_status,
        }
        if not path.exists() or json.loads(path.read_text()) != entry:
            _replace(path, entry)

    def save_key(self, backend: S3Backend, bucket_name: str, key_name: str) -> None:
        """Update the manifest of one key from moto's memory: first write new bytes, last delete old ones."""
        bucket = backend.buckets.get(bucket_name)
        if bucket is None:
            return
        manifest = self._directory / bucket_name / "keys" / f"{_hashed(key_name)}.json"
        with self._locks[hash((bucket_name, key_name)) % _LOCKS]:
            versions = list(bucket.keys.getlist(key_name, []))
            old_files = set(_files_of(manifest))
            for version in versions:
                if isinstance(version, FakeKey):
                    self._write_value(bucket_name, version)
            if versions:
                entries = [_entry(backend, version) for version in versions]
                _replace(manifest, {"key": key_name, "versions": entries})
            else:
                manifest.unlink(missing_ok=True)
            for file in old_files - set(_files_of(manifest)):
                self._data(bucket_name, file).unlink(missing_ok=True)

    def load(self, backend: S3Backend) -> None:
        """Load every bucket, and delete incomplete files of a killed server."""
        for path in sorted(self._directory.glob("*/bucket.json")):
            entry = json.loads(path.read_text())
            bucket = backend.create_bucket(path.parent.name, entry["region"])
            bucket.creation_date = datetime.datetime.fromisoformat(entry["created"])
            bucket.versioning_status = entry["versioning"]
            files = set()
            for manifest in (path.parent / "keys").glob("*.json"):
                self._load_key(backend, bucket, json.loads(manifest.read_text()))
                files |= set(_files_of(manifest))
            for file in (path.parent / "data").glob("*"):
                if file.name not in files:
                    file.unlink()
            for partial in (path.parent / "keys").glob("*.part"):
                partial.unlink()

    def _data(self, bucket_name: str, file: str) -> Path:
        return self._directory / bucket_name / "data" / file

    def _write_value(self, bucket_name: str, key: FakeKey) -> None:
        if isinstance(key._value_buffer, StoredValue):
            return
        key.etag  # noqa: B018 - moto computes it from the buffer when first asked
        path = self._data(bucket_name, uuid.uuid4().hex)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        with key.lock, partial.open("wb") as file:
            key._value_buffer.seek(0)
            shutil.copyfileobj(key._value_buffer, file, 1024 * 1024)
            partial.replace(path)
            buffer, key._value_buffer = key._value_buffer, StoredValue(path)
        buffer.close()

    def _load_key(self, backend: S3Backend, bucket: Any, manifest: dict[str, Any]) -> None:
        versions: list[Any] = []
        for entry in manifest["versions"]:
            if entry["file"] is None:
                version = FakeDeleteMarker(key=versions[-1] if versions else None)
                version.name = manifest["key"]
                version._version_id = entry["_version_id"]
            else:
                version = FakeKey(
                    name=manifest["key"],
                    value=b"",
                    account_id=backend.account_id,
                    region_name=backend.region_name,
                    bucket_name=bucket.name,
                )
                version._value_buffer.close()
                version._value_buffer = StoredValue(self._data(bucket.name, entry["file"]))
                for field in _FIELDS:
                    setattr(version, field, entry[field])
                version.set_metadata(entry["metadata"])
                backend.tagger.tag_resource(version.arn, backend.tagger.convert_dict_to_tags_input(entry["tags"]))
            version.last_modified = datetime.datetime.fromisoformat(entry["last_modified"])
            versions.append(version)
        bucket.keys.setlist(manifest["key"], versions)


def _entry(backend: S3Backend, version: Any) -> dict[str, Any]:
    entry = {"file": None, "last_modified": version.last_modified.isoformat()}
    if not isinstance(version, FakeKey):
        return entry | {"_version_id": version.version_id}
    return (
        entry
        | {field: getattr(version, field) for field in _FIELDS}
        | {
            "file": version._value_buffer.path.name,
            "metadata": dict(version.metadata),
            "tags": backend.tagger.get_tag_dict_for_resource(version.arn),
        }
    )


def _files_of(manifest: Path) -> Iterator[str]:
    if manifest.exists():
        for version in json.loads(manifest.read_text())["versions"]:
            if version["file"] is not None:
                yield version["file"]


def _hashed(key_name: str) -> str:
    """Return a file name for any key: keys may be longer, and contain more characters, than file names."""
    return hashlib.sha256(key_name.encode()).hexdigest()


def _replace(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{uuid.uuid4().hex}.part")
    partial.write_text(json.dumps(document))
    partial.replace(path)
