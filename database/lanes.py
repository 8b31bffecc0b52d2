"""Which lanes a change touches, as a bitmap by hash: small, of one size, and readable without the rates.

A service that knows answers forgets those of the lanes that a change may have touched, and no others. Two lanes
may share a bit; then one is forgotten in vain. A lane is marked by its two ends, and each end by itself, for
questions that join a port with a region and so read many lanes.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

BUCKETS = 1 << 15
"""Bits of a map: 4 KiB, of which PostgreSQL stores the zeros compressed."""
ANY = "*"
"""Stands for every location at the other end of a lane."""


def bucket(orig: str, dest: str) -> int:
    """Return the bit of a lane, from 0 to BUCKETS - 1; either end may be ANY."""
    return crc32(f"{orig},{dest}".encode()) % BUCKETS


def bitmap(lanes: Iterable[tuple[str, str]]) -> bytes:
    """Return the map of these lanes; bit `n` is bit `n % 8`, from the lowest, of byte `n // 8`."""
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
    """Return the numbers of the bits that are set in a map."""
    return [at * 8 + bit for at, byte in enumerate(bits) if byte for bit in range(8) if byte >> bit & 1]


def mark_lanes(cursor: "Cursor", batch_no: int) -> None:
    """Note which lanes the rates of a batch touch, for when they become visible; again replaces what was noted."""
    cursor.execute("SELECT DISTINCT orig_code, dest_code FROM rates WHERE batch_no = %s", (batch_no,))
    cursor.execute(
        "INSERT INTO changes (batch_no, lanes) VALUES (%s, %s)"
        " ON CONFLICT (batch_no) DO UPDATE SET lanes = excluded.lanes",
        (batch_no, bitmap(cursor)),
    )


def _set(bits: bytearray, at: int) -> None:
    bits[at // 8] |= 1 << at % 8
