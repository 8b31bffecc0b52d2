"""The interface of a dataset: its columns, the checks of its rows, and the rows derived from them.

The engine (tasks, files, batches, runtime) depends on this interface alone. `ratesflow.loader.__main__` passes it a
dataset; `ratesflow.loader.freight` is the only one. The engine calls it per file or per piece of a file, never per row.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from ratesflow.loader.runtime.texts import printable

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812
    from pyarrow import RecordBatch

    from ratesflow.database.reference import Reference

# The longest line, in bytes: bounds the memory for a file without line ends.
MAX_LINE_BYTES = 65_536
# Characters of a value that a report shows.
SHOWN = 100
# The reason of a valid code that is not in the reference data. Reports count these by value.
UNKNOWN_PORT = "unknown_port"


@dataclass(frozen=True)
class Violation:
    """One violation in one row: its column, its value, the reason that reports count, and the message."""

    column: str
    value: str
    reason: str
    message: str


def violation(column: str, value: str, reason: str, message: str) -> Violation:
    """Return a violation in printable characters, with its value cut to SHOWN characters."""
    shown = value if len(value) <= SHOWN else value[:SHOWN] + "…"
    return Violation(column, printable(shown), reason, printable(message))


class FileRejectedError(Exception):
    """The whole file is rejected at `line`, for the `reason` that reports count; the rest is not read.

    Line 0 means the line that is being read.
    """

    def __init__(self, line: int, reason: str, message: str, value: str = "") -> None:
        super().__init__(message)
        self.line, self.reason, self.value = line, reason, value


class Kind(Enum):
    """The type of a column's values, which determines how each format writes them."""

    TEXT = "text"
    DAY = "day"
    INTEGER = "integer"


@dataclass(frozen=True)
class Column:
    """A column of the dataset. `wrong_type` is the reason for a JSON value of another type."""

    name: str
    kind: Kind
    wrong_type: str


@dataclass(frozen=True)
class RowSchema:
    """The columns of a row, in order; `shortest_row` is the length of the shortest row as CSV, in bytes."""

    columns: tuple[Column, ...]
    shortest_row: int

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)


Reject = Callable[[int, list[Violation]], None]
"""Takes the index of a row in its piece, from 0, and its violations."""
TextCheck = Callable[[bytes, int, Reject], None]
"""Checks a piece and takes its bytes, its number of whole lines, and a Reject; the last line may lack its line end."""


class ShardValidator(Protocol):
    """Checks the rows of one shard, and derives rows from those that are valid."""

    @property
    def schema(self) -> RowSchema:
        """The columns of a row."""

    def csv_check(self, columns: tuple[str, ...]) -> TextCheck:
        """Return the check for CSV lines with these columns."""

    def json_check(self, columns: tuple[str, ...]) -> TextCheck:
        """Return the check for JSON lines, most of which have their keys in this order."""

    def check_record_batch(self, batch: "RecordBatch", reject: Reject) -> None:
        """Check rows of a Parquet file. Raises FileRejectedError, without a line, when they are damaged."""

    def derived_rows(self, batch_no: int, reference: "Reference") -> Iterator[bytes]:
        """Yield the derived rows as text for `Dataset.copy_derived`. To be called once, after all rows are checked."""

    @property
    def digest(self) -> list[int]:
        """This shard's part of the digest of the derived rows; complete after `derived_rows` was read."""


class Dataset(Protocol):
    """One kind of batch. Modules that only checks need are imported when rows are checked."""

    @property
    def schema(self) -> RowSchema:
        """The columns of a row."""

    @property
    def copy_derived(self) -> str:
        """The COPY statement for derived rows."""

    def validator(self, reference: "Reference") -> ShardValidator:
        """Return a validator for one shard."""

    def digest(self, shards: Iterable[Sequence[int]]) -> str:
        """Return the digest of a batch's derived rows from those of its shards, in hexadecimal."""

    def negative_rows(self, cursor: "Cursor", batch_no: int, reference: "Reference") -> tuple[Iterator[bytes], int]:
        """Derive the rows of a committed batch again, from its stored rows.

        Return the derived rows, negated and under the negative batch number, as text for `copy_derived`, and the
        number of stored rows. Raises TransientError when the stored rows move to another table meanwhile.
        """
