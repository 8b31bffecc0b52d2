"""Parquet: a batch's four columns in batches of rows, from ranged reads, in bounded memory.

Codes are strings, plain or as dictionary. `day` is a date, a string written YYYY-MM-DD, or a timestamp
without time zone at midnight, which is how pandas writes a day. `price` is an integer of any width: a decimal
or floating-point column is refused, since it says that prices are not whole. Only this module needs pyarrow.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from ratesflow.loader.batches.byte_ranges import Fetch
from ratesflow.loader.files.limits import check_text, most_row_group, most_text
from ratesflow.loader.freight.schema import COLUMNS, FileRejectedError

BATCH_ROWS = 16_384
# Arrow's own allocator keeps 40 MB that it no longer needs.
pa.set_memory_pool(pa.system_memory_pool())
# Each column has a buffer of this size; smaller ranges are read with what stands behind them.
BUFFER_BYTES = 1024 * 1024
# A footer describes about a hundred row groups in 100 KB.
MAX_FOOTER_BYTES = 16 * 1024 * 1024
# The shortest text of a row: "CNSHA,NLRTM,2021-01-31,5" and its line end.
ROW_BYTES = 25


class RangedFile(io.RawIOBase):
    """A batch as a file that can be read anywhere: each read is a range of the object, or lies in the one before."""

    def __init__(self, fetch: Fetch, size: int) -> None:
        self._fetch, self._size = fetch, size
        self._at = 0
        self._window, self._window_at = b"", 0

    def seekable(self) -> bool:
        """Reading may begin anywhere."""
        return True

    def readable(self) -> bool:
        """There is nothing to write to."""
        return True

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Begin the next read elsewhere."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return so many bytes, fewer at the end of the file."""
        stop = self._size if size < 0 else min(self._at + size, self._size)
        if self._at >= stop:
            return b""
        if not (self._window_at <= self._at and stop <= self._window_at + len(self._window)):
            self._window_at = self._at
            self._window = b"".join(self._fetch(self._at, min(max(stop, self._at + BUFFER_BYTES), self._size)))
        data = self._window[self._at - self._window_at : stop - self._window_at]
        self._at = stop
        return data


def open_parquet(fetch: Fetch, size: int) -> "pa.parquet.ParquetFile":
    """Read the footer of a Parquet file of `size` bytes; raise RefusedFileError when it is no batch."""
    tail = b"".join(fetch(max(size - 8, 0), size))
    if size < 12 or not tail.endswith(b"PAR1"):
        raise FileRejectedError(1, "truncated_parquet", "the Parquet file has no end: it was not sent whole")
    footer = int.from_bytes(tail[:4], "little")
    if footer > MAX_FOOTER_BYTES:
        raise FileRejectedError(1, "broken_parquet", f"the Parquet file's footer has {footer:,} bytes")
    with _refusing(1):
        source = pa.PythonFile(RangedFile(fetch, size), mode="r")
        metadata = pa.parquet.read_metadata(source)
        _check_schema(metadata.schema.to_arrow_schema())
        _check_size(metadata, size)
        return pa.parquet.ParquetFile(
            source, metadata=metadata, read_dictionary=COLUMNS[:3], buffer_size=BUFFER_BYTES, pre_buffer=False
        )


@contextmanager
def _refusing(line: int) -> Iterator[None]:
    """Turn what pyarrow says of a damaged file into a refusal; errors in reading the object go their own way."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:500]
        raise FileRejectedError(line, "broken_parquet", f"the Parquet file cannot be read: {said}") from error


def _check_schema(schema: "pa.Schema") -> None:
    names = schema.names
    if sorted(names) != sorted(COLUMNS):
        message = f"the columns must be {', '.join(COLUMNS)}, in any order; the file has {', '.join(names)}"
        raise FileRejectedError(1, "wrong_header", message[:1000])
    wanted = {"day": "a date, a string, or a timestamp without time zone", "price": "an integer"}
    for name in COLUMNS:
        found = schema.field(name).type
        if not _accepted(name, found):
            message = f"the column {name} has the type {found}; it must be {wanted.get(name, 'a string')}"
            raise FileRejectedError(1, "wrong_type", message)


def _accepted(name: str, found: "pa.DataType") -> bool:
    if name == "price":
        return bool(pa.types.is_integer(found))
    if name == "day" and (pa.types.is_date(found) or (pa.types.is_timestamp(found) and found.tz is None)):
        return True
    return is_text(found.value_type if pa.types.is_dictionary(found) else found)


def is_text(found: "pa.DataType") -> bool:
    """Tell whether a type is one of those for strings."""
    return bool(pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found))


def _check_size(metadata: Any, size: int) -> None:
    most = most_row_group()
    row = 1
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        # What its columns say is not asked: pyarrow 26 ends the process where it finds them damaged.
        found = group.total_byte_size
        if found > most:
            message = f"a row group of {found:,} bytes; at most {most:,}: write it with smaller row groups"
            raise FileRejectedError(row, "row_group_too_large", message)
        row += group.num_rows
    try:
        check_text(metadata.num_rows * ROW_BYTES, size, most_text(size))
    except FileRejectedError as error:
        error.line = 1
        raise


def record_batches(file: "pa.parquet.ParquetFile", groups: range, line: int) -> Iterator["pa.RecordBatch"]:
    """Yield the rows of row groups, the first of which has the number `line`, with the four columns.

    Raises RefusedFileError where the file is damaged, or holds other numbers of rows than its footer says.
    """
    expected = line + sum(file.metadata.row_group(group).num_rows for group in groups)
    if not groups:
        return
    with _refusing(line):
        found = file.iter_batches(BATCH_ROWS, row_groups=list(groups), columns=list(COLUMNS), use_threads=False)
    while True:
        with _refusing(line):
            batch = next(found, None)
        if batch is None:
            break
        yield batch.select(COLUMNS)
        line += batch.num_rows
    if line != expected:
        raise FileRejectedError(
            line, "broken_parquet", f"the file ends {expected - line:,} rows before its footer says"
        )


def rows_as_csv(batch: "pa.RecordBatch") -> bytes:
    """Return rows that were checked as CSV, in the order of the contract's columns."""
    from pyarrow import csv  # only load writes

    day = batch.column("day")
    columns = [batch.column("orig_code").cast(pa.string()), batch.column("dest_code").cast(pa.string())]
    columns += [day.cast(pa.date32() if pa.types.is_temporal(day.type) else pa.string()), batch.column("price")]
    sink = pa.BufferOutputStream()
    plain = csv.WriteOptions(include_header=False, quoting_style="none")
    csv.write_csv(pa.RecordBatch.from_arrays(columns, list(COLUMNS)), sink, plain)
    return bytes(sink.getvalue())
