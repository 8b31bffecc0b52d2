"""Valid rows, as numbers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Valid rows as four arrays of the same length: numbers of ports, day numbers (0001-01-01 is 1), US dollars."""

    origs: Integers
    dests: Integers
    days: Integers
    prices: Integers

    def __len__(self) -> int:
        return len(self.prices)

    @property
    def columns(self) -> tuple[Integers, Integers, Integers, Integers]:
        """The four arrays, in the order of the dataset's columns."""
        return self.origs, self.dests, self.days, self.prices
