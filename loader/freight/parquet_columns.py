"""Checks the rows of a Parquet file: each distinct string once, and numbers as whole columns."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ratesflow.loader.dataset import SHOWN, FileRejectedError, Reject, Violation, violation
from ratesflow.loader.files.parquet import is_text
from ratesflow.loader.freight.rows import Integers, Rows
from ratesflow.loader.freight.schema import COLUMNS, MAX_PRICE, check_value, parse_day

# Day numbers, from 0001-01-01 as 1: of 1970-01-01, Arrow's day 0, and of 9999-12-31.
EPOCH, LAST_DAY = 719_163, 3_652_059
_DAY_IN = {"D": 1, "s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


def check(batch: "pa.RecordBatch", ports: Mapping[str, int], reject: Reject) -> Rows:
    """Return the valid rows of a record batch; `ports` maps codes to port numbers from 1.

    `reject` gets row numbers from 0. Raises FileRejectedError, without a line, when the record batch is damaged.
    """
    columns = {name: batch.column(name) for name in COLUMNS}
    numbers = {name: _numbers(name, column, ports) for name, column in columns.items()}
    bad = np.zeros(batch.num_rows, dtype=bool)
    for values in numbers.values():
        bad |= values == 0
    if not bad.any():
        return Rows(*(numbers[name] for name in COLUMNS))
    for at in np.flatnonzero(bad).tolist():
        wrong = [name for name in COLUMNS if not numbers[name][at]]
        reject(at, [_violation(name, columns[name][at], ports) for name in wrong])
    return Rows(*(numbers[name][~bad] for name in COLUMNS))


def _numbers(name: str, column: "pa.Array", ports: Mapping[str, int]) -> Integers:
    """Return a column as numbers, 0 where a value is bad."""
    if name == "price":
        return _prices(column)
    if pa.types.is_temporal(column.type):
        return _days(column)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    numbers = [_number(name, value, ports) for value in column.dictionary.cast(pa.large_binary()).to_pylist()]
    # Null rows get the index -1, and so the 0 at the end of the numbers.
    codes = pc.fill_null(column.indices.cast(pa.int64()), -1).to_numpy()
    outside = np.count_nonzero((codes < 0) | (codes >= len(numbers)))
    if outside != column.null_count:
        raise FileRejectedError(
            0, "broken_parquet", f"the Parquet file is damaged: {name} has an index outside its dictionary"
        )
    found: Integers = np.array([*numbers, 0], dtype=np.int64)[codes]
    return found


def _number(name: str, value: bytes | None, ports: Mapping[str, int]) -> int:
    if value is None or len(value) > SHOWN or not value.isascii():
        return 0
    text = value.decode()
    return parse_day(text) if name == "day" else ports.get(text, 0)


def _prices(column: "pa.Array") -> Integers:
    values = _filled(column)
    good = (values > 0) & (values <= MAX_PRICE)
    return np.where(good, values, 0).astype(np.int64)


def _days(column: "pa.Array") -> Integers:
    values, per_day = _filled(column.cast(_integer(column.type))), _DAY_IN[_unit(column.type)]
    days = values // per_day
    good = (values % per_day == 0) & (days > -EPOCH) & (days <= LAST_DAY - EPOCH) & _valid(column)
    return np.where(good, days + EPOCH, 0).astype(np.int64)


def _filled(column: "pa.Array") -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = pc.fill_null(column, 0).to_numpy()
    return values


def _valid(column: "pa.Array") -> npt.NDArray[np.bool_]:
    valid: npt.NDArray[np.bool_] = column.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _integer(found: "pa.DataType") -> "pa.DataType":
    return pa.int32() if pa.types.is_date32(found) else pa.int64()


def _unit(found: "pa.DataType") -> str:
    if pa.types.is_date(found):
        return "D" if pa.types.is_date32(found) else "ms"
    return str(found.unit)


def _violation(name: str, value: Any, ports: Mapping[str, int]) -> Violation:
    text = _text(value) if value.is_valid else None
    if text is None:
        return violation(name, "null", "missing_value", f"{name} is null")
    if pa.types.is_temporal(value.type):
        return _wrong_day(value)
    wrong = check_value(name, text, ports)
    assert wrong is not None, f"two checks of a value differ: {name} {text!r}"
    return wrong


def _text(value: Any) -> str | None:
    """Return a value as text, cut to about the length that a report shows; None for a null in a dictionary."""
    if pa.types.is_dictionary(value.type):
        value = value.value
    if not value.is_valid:
        return None
    if is_text(value.type):
        return bytes(value.as_buffer())[: 8 * SHOWN].decode(errors="replace")
    return "" if pa.types.is_temporal(value.type) else str(value.as_py())


def _wrong_day(value: Any) -> Violation:
    unit = _unit(value.type)
    number = value.cast(_integer(value.type)).as_py()
    shown = str(np.int64(number).astype(f"datetime64[{unit}]"))
    if number % _DAY_IN[unit]:
        return violation("day", shown, "invalid_day", "day must be a day without a time")
    return violation("day", shown, "impossible_day", "day must be between 0001-01-01 and 9999-12-31")
