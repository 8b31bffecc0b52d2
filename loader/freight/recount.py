"""Recomputes the rates of a committed batch from its stored prices.

The code that validates files parses the prices. It is fast for many prices on few lanes, and for few prices on many
days.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from psycopg2 import errors, sql

from ratesflow.database.reference import Reference
from ratesflow.loader.dataset import Violation
from ratesflow.loader.freight.csv_columns import VectorizedValidator
from ratesflow.loader.freight.rates import RateCounts, copy_rows
from ratesflow.loader.freight.schema import COLUMNS
from ratesflow.loader.runtime import watchdog
from ratesflow.loader.runtime.errors import TaskError, TransientError

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

# Bytes of prices that are counted at a time.
PIECE_BYTES = 1024 * 1024
# From the table with the batch's prices: a COPY from `prices` would lock `prices` as long as it lasts.
_COPY = sql.SQL("COPY (SELECT {columns} FROM {table} WHERE batch_no = {number}) TO STDOUT WITH (FORMAT csv)")
_TABLE = "SELECT relname FROM price_tables JOIN pg_class ON pg_class.oid = part WHERE %s BETWEEN first AND last"


def recounted(cursor: "Cursor", batch_no: int, reference: Reference) -> tuple[RateCounts, int]:
    """Return the counts and sums of a batch's prices, and how many prices there are."""
    counting = _Counting(sorted(reference.ports))
    cursor.execute(_TABLE, (batch_no,))
    if found := cursor.fetchone():
        columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
        copy = _COPY.format(columns=columns, table=sql.Identifier(found[0]), number=sql.Literal(batch_no))
        try:
            cursor.copy_expert(copy, counting)
        except errors.UndefinedTable as error:
            raise TransientError("the batch's prices are being merged into another table") from error
    counting.finish()
    return counting.counts, counting.rows


def negative_rows(counts: RateCounts, batch_no: int, reference: Reference) -> Iterator[bytes]:
    """Yield the negated rates of a batch, under its negative batch number, as lines for COPY."""
    return copy_rows(counts.read(), -batch_no, sorted(reference.ports), reference, sign=-1)


class _Counting:
    """The file that COPY writes to."""

    def __init__(self, ports: list[str]) -> None:
        self.counts, self.rows = RateCounts(), 0
        self._checker = VectorizedValidator(COLUMNS, ports)
        self._blocks: list[bytes] = []
        self._bytes = 0

    def write(self, data: bytes) -> None:
        """Take the next bytes, which may end inside a line."""
        self._blocks.append(data)
        self._bytes += len(data)
        if self._bytes >= PIECE_BYTES:
            self._count(keep=True)

    def finish(self) -> None:
        """Count what is left."""
        self._count(keep=False)

    def _count(self, *, keep: bool) -> None:
        watchdog.alive()
        data = b"".join(self._blocks)
        end = data.rfind(b"\n") + 1 if keep else len(data)
        piece, rest = data[:end], data[end:]
        self._blocks, self._bytes = [rest] if rest else [], len(rest)
        if piece:
            lines = piece.count(b"\n")
            self.counts.add(self._checker.check(piece, lines, _raise))
            self.rows += lines


def _raise(_: int, violations: list[Violation]) -> None:
    raise TaskError(f"a stored price cannot be counted: {violations[0].message}")
