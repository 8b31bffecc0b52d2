"""Decompresses gzip block by block: any number of members (RFC 1952), at most one block in memory."""

import zlib
from collections.abc import Iterable, Iterator

from ratesflow.loader.batches.batch import BLOCK_BYTES
from ratesflow.loader.dataset import FileRejectedError
from ratesflow.loader.files.limits import check_text, max_text

MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS


def unpacked(blocks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield the text of a gzip file of `size` bytes in blocks of at most 1 MiB.

    Raises FileRejectedError when the file is truncated, damaged, followed by other data than padding zeros, or
    decompresses to more than `ratesflow.loader.files.limits` allows.
    """
    limit, written = max_text(size), 0
    member = zlib.decompressobj(_GZIP)
    for block in blocks:
        data, full = block, False
        # After a full block, zlib may hold more output, even if it has consumed all of the input.
        while data or full:
            if member.eof:
                data = data.lstrip(b"\0")
                if not data:
                    break
                member = zlib.decompressobj(_GZIP)
            try:
                text = member.decompress(data, BLOCK_BYTES)
            except zlib.error as error:
                raise FileRejectedError(
                    0, "broken_gzip", f"the gzip file is damaged at this line or later: {error}"
                ) from error
            data = member.unused_data if member.eof else member.unconsumed_tail
            full = len(text) == BLOCK_BYTES and not member.eof
            written += len(text)
            check_text(written, size, limit)
            if text:
                yield text
    if not member.eof:
        raise FileRejectedError(0, "truncated_gzip", "the gzip file is truncated: send it again")
