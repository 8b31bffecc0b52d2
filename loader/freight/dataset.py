"""Freight prices: the only implementation of `ratesflow.loader.dataset`.

Methods that need numpy and pandas import them, since a load needs neither.
"""

from typing import TYPE_CHECKING

from ratesflow.database.reference import stored
from ratesflow.loader.dataset import Rollup, RowSchema
from ratesflow.loader.freight.rates_table import RatesTable
from ratesflow.loader.freight.schema import ROWS

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

    from ratesflow.database.reference import Reference
    from ratesflow.loader.freight.validator import PriceValidator


class FreightPrices:
    """Prices by origin, destination and day; the derived rows are rates: counts and sums by lane and month."""

    table = "prices"
    schema: RowSchema = ROWS
    rollup: Rollup = RatesTable()

    def reference(self, cursor: "Cursor") -> "tuple[Reference, int]":
        """Return the ports and regions, and their version."""
        return stored(cursor)

    def validator(self, reference: "Reference") -> "PriceValidator":
        """Return a validator for one shard."""
        from ratesflow.loader.freight.validator import PriceValidator

        return PriceValidator(sorted(reference.ports))
