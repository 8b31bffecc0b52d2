"""Freight prices: the only implementation of `ratesflow.loader.dataset`.

Methods that need numpy and pandas import them, since a load needs neither.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ratesflow.loader.dataset import RowSchema
from ratesflow.loader.freight.schema import ROWS

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

    from ratesflow.database.reference import Reference
    from ratesflow.loader.freight.validator import PriceValidator


class FreightPrices:
    """Prices by origin, destination and day; the derived rows are rates: counts and sums by lane and month."""

    schema: RowSchema = ROWS
    copy_derived = "COPY rates (batch_no, month, orig_code, dest_code, counts, sums) FROM STDIN WITH (ENCODING 'UTF8')"

    def validator(self, reference: "Reference") -> "PriceValidator":
        """Return a validator for one shard."""
        from ratesflow.loader.freight.validator import PriceValidator

        return PriceValidator(sorted(reference.ports))

    def digest(self, shards: Iterable[Sequence[int]]) -> str:
        """Return the digest of a batch's rates from those of its shards, in hexadecimal."""
        from ratesflow.loader.freight.rates_digest import rates_digest

        return rates_digest(shards)

    def negative_rows(self, cursor: "Cursor", batch_no: int, reference: "Reference") -> tuple[Iterator[bytes], int]:
        """Return a committed batch's rates, recomputed from its prices and negated, and the number of prices."""
        from ratesflow.loader.freight.recount import negative_rows, recounted

        counts, rows = recounted(cursor, batch_no, reference)
        return negative_rows(counts, batch_no, reference), rows
