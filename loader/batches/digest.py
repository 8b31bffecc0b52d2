"""The digest of a batch's bytes: SHA-256 over the SHA-256s of its parts of 8 MiB.

Shards compute the parts side by side, and it comes out the same however the batch was read.
"""

import hashlib
from collections.abc import Iterable, Iterator

from ratesflow.loader.batches.batch import PART_BYTES


class PartDigests:
    """Takes the bytes of whole parts, in blocks of any size, and has the SHA-256 of each part.

    The last part of a batch may be shorter. More than `most` bytes are not looked at.
    """

    def __init__(self, most: int, part: int = PART_BYTES) -> None:
        self.left, self.part = most, part
        self._open = hashlib.sha256()
        self._missing = part
        self._done: list[bytes] = []

    def update(self, block: bytes) -> None:
        """Take the next bytes."""
        rest = memoryview(block)[: self.left]
        self.left -= len(rest)
        while rest:
            self._open.update(rest[: self._missing])
            taken = min(len(rest), self._missing)
            self._missing -= taken
            rest = rest[taken:]
            if not self._missing:
                self._close()

    def watched(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass blocks on, each taken first."""
        for block in blocks:
            self.update(block)
            yield block

    def finish(self) -> list[bytes]:
        """Return the digests of the parts, in order."""
        if self._missing < self.part:
            self._close()
        return self._done

    def _close(self) -> None:
        self._done.append(self._open.digest())
        self._open, self._missing = hashlib.sha256(), self.part


def watched_by(digest: "hashlib._Hash", blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Pass blocks on, each taken by a digest of all of them first."""
    for block in blocks:
        digest.update(block)
        yield block


def batch_digest(part_digests: Iterable[bytes]) -> str:
    """Return the digest of a batch from those of its parts, in order, in hexadecimal."""
    whole = hashlib.sha256()
    for digest in part_digests:
        whole.update(digest)
    return whole.hexdigest()
