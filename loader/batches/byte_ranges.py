"""The bytes of a batch that a shard works on: whole parts of 8 MiB, adjusted to line ends.

A line belongs to the shard in whose parts it begins. So each shard finds its lines on its own, and the shards together
read every line exactly once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ratesflow.loader.batches.batch import PART_BYTES
from ratesflow.loader.batches.digest import PartDigests
from ratesflow.loader.dataset import MAX_LINE_BYTES

Fetch = Callable[[int, int], Iterator[bytes]]
"""Yields the bytes of the batch from one offset to another, in blocks."""


@dataclass(frozen=True)
class ByteRange:
    """A range from `start`, included, to `stop`, excluded."""

    start: int
    stop: int


def shard_range(size: int, shard: int, shards: int, part: int = PART_BYTES) -> ByteRange:
    """Return the parts of one shard of a batch of `size` bytes; empty when there are more shards than parts."""
    count = -(-size // part)
    first, last = count * shard // shards, count * (shard + 1) // shards
    return ByteRange(min(first * part, size), min(last * part, size))


def shard_groups(count: int, shard: int, shards: int) -> range:
    """Return the row groups of a Parquet file that one shard reads."""
    return range(count * shard // shards, count * (shard + 1) // shards)


@dataclass
class SpanReader:
    """Reads the lines that begin in a span. After reading, `lines` is their range, and `digests` has digested the span.

    `size` is the size of the whole batch; `skip` is the offset of its first row, after the header.
    """

    fetch: Fetch
    span: ByteRange
    size: int
    skip: int
    digests: PartDigests
    lines: ByteRange = field(default=ByteRange(0, 0))

    def read(self) -> Iterator[bytes]:
        """Yield the bytes from the first line that begins in the span to the end of the last one.

        A last line that continues for more than 64 KiB after the span is cut there.
        """
        start = self._first_line()
        at, ended = self.span.start, True
        for block in self.digests.watched(self.fetch(self.span.start, self.span.stop)):
            begin = block.find(b"\n") + 1 if start is None else min(max(start - at, 0), len(block))
            if start is None and begin:
                start = at + begin
            at += len(block)
            if start is not None:
                yield block[begin:] if begin else block
                ended = block.endswith(b"\n")
        if start is None or start >= at:  # no line begins in the span
            self.lines = ByteRange(at, at)
            return
        if not ended:
            rest = self._rest()
            yield rest
            at += len(rest)
        self.lines = ByteRange(start, at)

    def _first_line(self) -> int | None:
        """Return the offset of the first line of the span; None when the span begins inside a line."""
        if self.span.start <= self.skip:
            return self.skip
        if self.span.start == self.span.stop or next(self.fetch(self.span.start - 1, self.span.start)) == b"\n":
            return self.span.start
        return None

    def _rest(self) -> bytes:
        """Return the end of the last line, which is after the span."""
        stop = self.span.stop
        rest = b"".join(self.fetch(stop, min(stop + MAX_LINE_BYTES, self.size)))
        return rest[: rest.find(b"\n") + 1 or len(rest)]
