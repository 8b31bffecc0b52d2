"""The interface of a dataset: its table and columns, the checks of its rows, and the rows derived from them.

The engine (tasks, files, batches, runtime) depends on this interface alone. `ratesflow.loader.__main__` passes it a
dataset; `ratesflow.loader.freight` is the only one. The engine calls it per file, piece of a file or transaction,
never per row.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from ratesflow.loader.runtime.errors import TransientError
from ratesflow.loader.runtime.texts import printable

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812
    from pyarrow import RecordBatch

    from ratesflow.database.reference import Reference

# The longest line, in bytes: bounds the memory for a file without line ends.
MAX_LINE_BYTES = 65_536
# Characters of a value that a report shows.
SHOWN = 100


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


class MergeBlockedError(TransientError):
    """No derived row may be merged now; other pieces of the same merge would fail, too."""


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
class UnknownCodes:
    """How reports count valid codes that are not in the reference data.

    `reason` is the reason of their violations. `counts` is the key of a report under which the most frequent codes have
    their numbers of violations, `others` the key of the number of other codes.
    """

    reason: str
    counts: str
    others: str


@dataclass(frozen=True)
class RowSchema:
    """The columns of a row, in order; `shortest_row` is the length of the shortest row as CSV, in bytes."""

    columns: tuple[Column, ...]
    shortest_row: int
    unknown_codes: UnknownCodes

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
        """Yield the derived rows as text for `Rollup.copy`. To be called once, after all rows are checked."""

    @property
    def digest(self) -> list[int]:
        """This shard's part of the digest of the derived rows; complete after `derived_rows` was read."""


class Rollup(Protocol):
    """The table of the rows that are derived from batches. They become visible with their batch.

    Each row has a `batch_no`; 0 stands for merged rows. Rows add up: those of a batch and of its negative to zero.
    """

    @property
    def table(self) -> str:
        """The name of the table."""

    @property
    def copy(self) -> str:
        """The statement that copies derived rows into the table."""

    @property
    def keys(self) -> str:
        """The query for the keys in the batches `%(batches)s`, in order. Rows with equal keys are merged."""

    def digest(self, shards: Iterable[Sequence[int]]) -> str:
        """Return the digest of a batch's derived rows from those of its shards, in hexadecimal."""

    def negative_rows(self, cursor: "Cursor", batch_no: int, reference: "Reference") -> tuple[Iterator[bytes], int]:
        """Derive the rows of a committed batch again, from its stored rows.

        Return them negated, under the negative of the batch's number, as text for `copy`, and the number of stored
        rows. Raises TransientError when the stored rows move to another table meanwhile.
        """

    def record_changes(self, cursor: "Cursor", batch_no: int) -> None:
        """Record which responses the rows of a hidden batch change, for when they become visible."""

    def match_reference(self, cursor: "Cursor", batch_no: int, version: int | None) -> None:
        """Lock the reference data until the transaction ends, and make the rows of a hidden batch match it.

        `version` is that of the reference data with which the rows were derived.
        """

    def merge(self, cursor: "Cursor", batches: Sequence[int], keys: Sequence[tuple[Any, ...]]) -> None:
        """Replace the rows with these keys, of these batches and of number 0, by their sum under number 0.

        Raises MergeBlockedError when no row of the table may be merged now.
        """


class Dataset(Protocol):
    """One kind of batch. Modules that only checks need are imported when rows are checked."""

    @property
    def table(self) -> str:
        """The name of the table of all rows, partitioned by `batch_no`."""

    @property
    def schema(self) -> RowSchema:
        """The columns of a row."""

    @property
    def rollup(self) -> Rollup:
        """The table of the derived rows."""

    def reference(self, cursor: "Cursor") -> "tuple[Reference, int]":
        """Return the reference data that rows are checked against, and its version."""

    def validator(self, reference: "Reference") -> ShardValidator:
        """Return a validator for one shard."""
