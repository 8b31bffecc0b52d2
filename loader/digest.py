"""The digest of a batch's bytes: SHA-256 over the SHA-256s of its parts of 8 MiB.

Shards compute the parts side by side, and it comes out the same however the batch was read.
"""

import hashlib
from collections.abc import Iterable, Iterator


def part_digest(part: bytes) -> bytes:
    """Return the SHA-256 of one part."""
    return hashlib.sha256(part).digest()


def batch_digest(part_digests: Iterable[bytes]) -> str:
    """Return the digest of a batch from those of its parts, in order, in hexadecimal."""
    whole = hashlib.sha256()
    for digest in part_digests:
        whole.update(digest)
    return whole.hexdigest()


def watched(parts: Iterable[bytes], digests: list[bytes]) -> Iterator[bytes]:
    """Pass parts on, and append the digest of each to `digests`."""
    for part in parts:
        digests.append(part_digest(part))
        yield part
