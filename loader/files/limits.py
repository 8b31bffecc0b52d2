"""How much a file that is packed may hold, so that a small file cannot fill a machine or a database.

- RATESFLOW_MAX_COMPRESSION_RATIO: bytes of text, or of rows, for each byte of the file (default 200; prices that
  differ pack to a fifth, a tenth at best). Below 256 MiB of text nothing is asked.
- RATESFLOW_MAX_UNCOMPRESSED_BYTES: bytes of text at most, whatever the file's size (default 64 GiB)
- RATESFLOW_MAX_ROW_GROUP_BYTES: bytes of a row group of a Parquet file, unpacked (default 256 MiB)
"""

import os

from ratesflow.loader.dataset import FileRejectedError
from ratesflow.loader.runtime.errors import UsageError

MIB, GIB = 1 << 20, 1 << 30
# Where the ratio begins to count.
HARMLESS_BYTES = 256 * MIB


def most_text(packed_bytes: int) -> int:
    """Return how many bytes of text a packed file of this size may hold. Raises UsageError on a bad setting."""
    by_ratio = _setting("RATESFLOW_MAX_COMPRESSION_RATIO", 200) * packed_bytes
    return min(_setting("RATESFLOW_MAX_UNCOMPRESSED_BYTES", 64 * GIB), max(by_ratio, HARMLESS_BYTES))


def check_text(text_bytes: int, packed_bytes: int, most: int) -> None:
    """Raise FileRejectedError when a packed file holds more text than it may."""
    if text_bytes > most:
        raise FileRejectedError(
            0,
            "unpacks_too_large",
            f"a file of {packed_bytes:,} bytes that unpacks to more than {most:,} bytes; send it in pieces, or plain",
        )


def most_row_group() -> int:
    """Return how many bytes a row group may have. Raises UsageError on a bad setting."""
    return _setting("RATESFLOW_MAX_ROW_GROUP_BYTES", 256 * MIB)


def _setting(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit()) or not int(text):
        raise UsageError(f"{name} must be a whole number above 0, not {text!r}")
    return int(text)
