"""The digest of a batch's bytes: SHA-256 over the SHA-256s of its parts of 8 MiB.

Shards compute the SHA-256s of their parts in parallel; the digest does not depend on the number of shards.
"""

import hashlib
from collections.abc import Iterable, Iterator

from ratesflow.loader.batches.batch import PART_BYTES


class PartDigests:
    """Computes the SHA-256 of each part from consecutive blocks of any size.

    The last part of a batch may be shorter. Bytes after the first `limit` are ignored.
    """

    def __init__(self, limit: int, part: int = PART_BYTES) -> None:
        self._left, self.part = limit, part
        self._open = hashlib.sha256()
        self._missing = part
        self._done: list[bytes] = []

    def update(self, block: bytes) -> None:
        """Digest the next bytes."""
        rest = memoryview(block)[: self._left]
        self._left -= len(rest)
        while rest:
            self._open.update(rest[: self._missing])
            taken = min(len(rest), self._missing)
            self._missing -= taken
            rest = rest[taken:]
            if not self._missing:
                self._close()

    def watched(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the blocks unchanged, and digest each."""
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
    """Yield the blocks unchanged, and add each to a digest."""
    for block in blocks:
        digest.update(block)
        yield block


def batch_digest(part_digests: Iterable[bytes]) -> str:
    """Return the digest of a batch from those of its parts, in order, in hexadecimal."""
    whole = hashlib.sha256()
    for digest in part_digests:
        whole.update(digest)
    return whole.hexdigest()
