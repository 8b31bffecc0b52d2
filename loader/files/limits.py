"""Limits for compressed files, so that a small file cannot fill a machine's memory or the database.

- RATESFLOW_MAX_COMPRESSION_RATIO: uncompressed bytes of text, or of rows, per byte of the file (default 200; real
  prices compress to a fifth or, at best, a tenth). Does not apply below 256 MiB of text.
- RATESFLOW_MAX_UNCOMPRESSED_BYTES: uncompressed bytes of text (default 64 GiB)
- RATESFLOW_MAX_ROW_GROUP_BYTES: uncompressed bytes of a row group of a Parquet file (default 256 MiB)
"""

import os

from ratesflow.loader.dataset import FileRejectedError
from ratesflow.loader.runtime.errors import UsageError

MIB, GIB = 1 << 20, 1 << 30
# The ratio does not apply to less text.
RATIO_FREE_BYTES = 256 * MIB


def max_text(compressed_bytes: int) -> int:
    """Return the most text, in bytes, for a compressed file of this size. Raises UsageError on a bad setting."""
    by_ratio = _setting("RATESFLOW_MAX_COMPRESSION_RATIO", 200) * compressed_bytes
    return min(_setting("RATESFLOW_MAX_UNCOMPRESSED_BYTES", 64 * GIB), max(by_ratio, RATIO_FREE_BYTES))


def check_text(text_bytes: int, compressed_bytes: int, limit: int) -> None:
    """Raise FileRejectedError when a compressed file contains more text than `limit`."""
    if text_bytes > limit:
        raise FileRejectedError(
            0,
            "unpacks_too_large",
            f"the file of {compressed_bytes:,} bytes decompresses to more than {limit:,}; split it or send it plain",
        )


def max_row_group() -> int:
    """Return the limit of a row group in bytes. Raises UsageError on a bad setting."""
    return _setting("RATESFLOW_MAX_ROW_GROUP_BYTES", 256 * MIB)


def _setting(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit()) or not int(text):
        raise UsageError(f"{name} must be a whole number above 0, not {text!r}")
    return int(text)
