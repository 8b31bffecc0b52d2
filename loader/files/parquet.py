"""Reads Parquet in record batches by ranged requests, in bounded memory.

Text is a string column, plain or dictionary-encoded. A day is a date, a string YYYY-MM-DD, or a timestamp without time
zone at midnight, as pandas writes a day. An integer has any width; a decimal or floating-point column is rejected,
since its values need not be integers.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from ratesflow.loader.batches.byte_ranges import Fetch
from ratesflow.loader.dataset import Column, FileRejectedError, Kind, RowSchema
from ratesflow.loader.files.limits import check_text, max_row_group, max_text

BATCH_ROWS = 16_384
# Arrow's default allocator keeps 40 MB of freed memory.
pa.set_memory_pool(pa.system_memory_pool())
# The buffer of a column, and the least number of bytes to request.
BUFFER_BYTES = 1024 * 1024
# A footer describes about a hundred row groups in 100 KB.
MAX_FOOTER_BYTES = 16 * 1024 * 1024
_WANTED = {
    Kind.TEXT: "a string",
    Kind.DAY: "a date, a string, or a timestamp without time zone",
    Kind.INTEGER: "an integer",
}


class RangedFile(io.RawIOBase):
    """A batch as a seekable file: a read fetches a range of the object, unless the range before contains it."""

    def __init__(self, fetch: Fetch, size: int) -> None:
        self._fetch, self._size = fetch, size
        self._at = 0
        self._window, self._window_at = b"", 0

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the offset of the next read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the offset of the next read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, fewer at the end of the file."""
        stop = self._size if size < 0 else min(self._at + size, self._size)
        if self._at >= stop:
            return b""
        if not (self._window_at <= self._at and stop <= self._window_at + len(self._window)):
            self._window_at = self._at
            self._window = b"".join(self._fetch(self._at, min(max(stop, self._at + BUFFER_BYTES), self._size)))
        data = self._window[self._at - self._window_at : stop - self._window_at]
        self._at = stop
        return data


def open_parquet(fetch: Fetch, size: int, schema: RowSchema) -> "pa.parquet.ParquetFile":
    """Read the footer of a Parquet file of `size` bytes. Raises FileRejectedError when it is not a batch."""
    tail = b"".join(fetch(max(size - 8, 0), size))
    if size < 12 or not tail.endswith(b"PAR1"):
        raise FileRejectedError(1, "truncated_parquet", "the Parquet file is truncated: send it again")
    footer = int.from_bytes(tail[:4], "little")
    if footer > MAX_FOOTER_BYTES:
        raise FileRejectedError(1, "broken_parquet", f"the Parquet file's footer has {footer:,} bytes")
    with _rejecting(1):
        source = pa.PythonFile(RangedFile(fetch, size), mode="r")
        metadata = pa.parquet.read_metadata(source)
        _check_schema(metadata.schema.to_arrow_schema(), schema)
        _check_size(metadata, size, schema.shortest_row)
        texts = [column.name for column in schema.columns if column.kind is not Kind.INTEGER]
        return pa.parquet.ParquetFile(
            source, metadata=metadata, read_dictionary=texts, buffer_size=BUFFER_BYTES, pre_buffer=False
        )


@contextmanager
def _rejecting(line: int) -> Iterator[None]:
    """Raise FileRejectedError for pyarrow's errors about a damaged file; errors in reading the object pass through."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        message = (str(error).strip() or type(error).__name__).splitlines()[0][:500]
        raise FileRejectedError(line, "broken_parquet", f"the Parquet file cannot be read: {message}") from error


def _check_schema(found: "pa.Schema", schema: RowSchema) -> None:
    if sorted(found.names) != sorted(schema.names):
        wanted, names = ", ".join(schema.names), ", ".join(found.names)
        message = f"the columns must be {wanted}, in any order; the file has {names}"
        raise FileRejectedError(1, "wrong_header", message[:1000])
    for column in schema.columns:
        kind = found.field(column.name).type
        if not _accepted(column, kind):
            message = f"the column {column.name} has the type {kind}; it must be {_WANTED[column.kind]}"
            raise FileRejectedError(1, "wrong_type", message)


def _accepted(column: Column, found: "pa.DataType") -> bool:
    if column.kind is Kind.INTEGER:
        return bool(pa.types.is_integer(found))
    if column.kind is Kind.DAY and (pa.types.is_date(found) or (pa.types.is_timestamp(found) and found.tz is None)):
        return True
    return is_text(found.value_type if pa.types.is_dictionary(found) else found)


def is_text(found: "pa.DataType") -> bool:
    """Return whether a type is one of those for strings."""
    return bool(pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found))


def _check_size(metadata: Any, size: int, row_bytes: int) -> None:
    limit = max_row_group()
    row = 1
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        # Not the sizes of columns: pyarrow 26 crashes if their metadata is damaged.
        found = group.total_byte_size
        if found > limit:
            message = f"a row group has {found:,} bytes; at most {limit:,} are allowed: write smaller row groups"
            raise FileRejectedError(row, "row_group_too_large", message)
        row += group.num_rows
    try:
        check_text(metadata.num_rows * row_bytes, size, max_text(size))
    except FileRejectedError as error:
        error.line = 1
        raise


def record_batches(
    file: "pa.parquet.ParquetFile", groups: range, line: int, schema: RowSchema
) -> Iterator["pa.RecordBatch"]:
    """Yield the rows of row groups with the schema's columns; `line` is the number of the first row.

    Raises FileRejectedError when the file is damaged, or the number of rows differs from its footer.
    """
    expected = line + sum(file.metadata.row_group(group).num_rows for group in groups)
    if not groups:
        return
    with _rejecting(line):
        found = file.iter_batches(BATCH_ROWS, row_groups=list(groups), columns=list(schema.names), use_threads=False)
    while True:
        with _rejecting(line):
            batch = next(found, None)
        if batch is None:
            break
        yield batch.select(schema.names)
        line += batch.num_rows
    if line != expected:
        raise FileRejectedError(
            line, "broken_parquet", f"the file has {expected - line:,} rows fewer than its footer states"
        )


def rows_as_csv(batch: "pa.RecordBatch", schema: RowSchema) -> bytes:
    """Return validated rows as CSV, in the order of the schema's columns."""
    from pyarrow import csv  # only load needs it

    columns = [_for_csv(column.kind, batch.column(column.name)) for column in schema.columns]
    sink = pa.BufferOutputStream()
    plain = csv.WriteOptions(include_header=False, quoting_style="none")
    csv.write_csv(pa.RecordBatch.from_arrays(columns, list(schema.names)), sink, plain)
    return bytes(sink.getvalue())


def _for_csv(kind: Kind, column: "pa.Array") -> "pa.Array":
    if kind is Kind.INTEGER:
        return column
    return column.cast(pa.date32() if pa.types.is_temporal(column.type) else pa.string())
