"""The lanes that a change touches, as a bitmap of their hashes: small, of fixed size, readable without the rates.

The API drops the cached responses of the lanes that a change may have touched, and no others. Two lanes may share a
bit; then one is dropped needlessly. A lane is marked by its two ends together, and by each end alone, for requests
that join a port with a region and so read many lanes.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

BUCKETS = 1 << 15
"""Bits in a bitmap: 4 KiB. PostgreSQL compresses the zeros."""
ANY = "*"
"""Stands for every location at the other end of a lane."""


def bucket(orig: str, dest: str) -> int:
    """Return the bit of a lane, from 0 to BUCKETS - 1; either end may be ANY."""
    return crc32(f"{orig},{dest}".encode()) % BUCKETS


def bitmap(lanes: Iterable[tuple[str, str]]) -> bytes:
    """Return the bitmap of these lanes; bit `n` is bit `n % 8`, from the lowest, of byte `n // 8`."""
    bits = bytearray(BUCKETS // 8)
    ends: set[tuple[str, str]] = set()
    for orig, dest in lanes:
        ends.add((orig, ANY))
        ends.add((ANY, dest))
        _set(bits, bucket(orig, dest))
    for orig, dest in ends:
        _set(bits, bucket(orig, dest))
    return bytes(bits)


def buckets(bits: bytes) -> list[int]:
    """Return the numbers of the bits that are set in a bitmap."""
    return [at * 8 + bit for at, byte in enumerate(bits) if byte for bit in range(8) if byte >> bit & 1]


def mark_lanes(cursor: "Cursor", batch_no: int) -> None:
    """Record which lanes the rates of a batch touch, for when they become visible; replaces an earlier record."""
    cursor.execute("SELECT DISTINCT orig_code, dest_code FROM rates WHERE batch_no = %s", (batch_no,))
    cursor.execute(
        "INSERT INTO changes (batch_no, lanes) VALUES (%s, %s)"
        " ON CONFLICT (batch_no) DO UPDATE SET lanes = excluded.lanes",
        (batch_no, bitmap(cursor)),
    )


def _set(bits: bytearray, at: int) -> None:
    bits[at // 8] |= 1 << at % 8
