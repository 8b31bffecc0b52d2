"""Presents blocks of bytes as a file for COPY, without joining them."""

import io
from collections.abc import Iterator


class IteratorIO(io.RawIOBase):
    """Reads blocks one after the other. `failure` is the exception that they raised, which psycopg2 hides."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._block = memoryview(b"")
        self.failure: Exception | None = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, fewer at the end of a block, none at the end of all."""
        while not self._block:
            try:
                self._block = memoryview(next(self._blocks))
            except StopIteration:
                return b""
            except Exception as error:
                self.failure = error
                raise
        data, self._block = self._block[:size], self._block[size:]
        return bytes(data)

    def skip(self) -> None:
        """Read the remaining blocks and drop them, so that their digest is complete."""
        for _ in self._blocks:
            pass
