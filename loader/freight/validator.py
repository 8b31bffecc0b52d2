"""The validator of one shard: checks prices in any format and counts their rates."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ratesflow.loader.dataset import Reject, RowSchema, TextCheck, Violation
from ratesflow.loader.files.jsonlines import as_csv
from ratesflow.loader.freight.csv_columns import VectorizedValidator
from ratesflow.loader.freight.rates import RateCounts, copy_rows
from ratesflow.loader.freight.rates_digest import RatesDigest
from ratesflow.loader.freight.schema import ROWS, Price, parse_object

if TYPE_CHECKING:
    from pyarrow import RecordBatch

    from ratesflow.database.reference import Reference


class PriceValidator:
    """Checks prices between `ports`; `counts` has the rates of the valid rows."""

    schema: RowSchema = ROWS

    def __init__(self, ports: Sequence[str]) -> None:
        self.counts = RateCounts()
        self._ports = ports
        self._numbers = {code: number for number, code in enumerate(ports, start=1)}
        self._digest = RatesDigest(ports)

    @property
    def digest(self) -> list[int]:
        """This shard's part of the digest of the rates; complete after `derived_rows` was read."""
        return self._digest.words

    def csv_check(self, columns: tuple[str, ...]) -> TextCheck:
        """Return the check for CSV lines with these columns."""
        validator = VectorizedValidator(columns, self._ports)

        def check(data: bytes, lines: int, reject: Reject) -> None:
            self.counts.add(validator.check(data, lines, reject))

        return check

    def json_check(self, columns: tuple[str, ...]) -> TextCheck:
        """Return the check for JSON lines, most of which have their keys in this order."""
        validator = VectorizedValidator(columns, self._ports)

        def read(line: bytes) -> Price | list[Violation]:
            return parse_object(line, self._numbers)

        def check(data: bytes, lines: int, reject: Reject) -> None:
            text = as_csv(data, lines, columns, ROWS)
            values = None if text is None else validator.split(text, lines)
            if values is None:
                self.counts.add(validator.line_by_line(data, reject, read))
            else:
                self.counts.add(validator.valid_rows(values, data, reject, read))

        return check

    def check_record_batch(self, batch: "RecordBatch", reject: Reject) -> None:
        """Check rows of a Parquet file. Raises FileRejectedError, without a line, when they are damaged."""
        from ratesflow.loader.freight.parquet_columns import check

        self.counts.add(check(batch, self._numbers, reject))

    def derived_rows(self, batch_no: int, reference: "Reference") -> Iterator[bytes]:
        """Yield the rates as text for COPY. To be called once, after all rows are checked."""
        return copy_rows(self._digest.watched(self.counts.read()), batch_no, self._ports, reference)
