"""A digest of the rates between ports of a batch, the same for the same prices in any format, order and wrapping.

It is a sum over the cells of (lane and day, count, sum) of a number that is made from the lane and day, times count
and sum. So shards add up, although each has only a part of a cell's prices. 128 bits that are no cryptography: equal
digests make a notice, no decision. Two batches by chance have the same one time in 2**64, at the worst.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ratesflow.loader.freight.grouped_sums import Cells
from ratesflow.loader.freight.rates import MONTH_DAY_BITS, PORT_BITS

_WORDS = 2
_MODULUS = 1 << 64
Numbers = npt.NDArray[np.uint64]


class RatesDigest:
    """Takes the cells of a shard, whose ports are numbered from 1 in the order of `ports`; `words` are its digest."""

    def __init__(self, ports: Sequence[str]) -> None:
        # By code, since the numbers change when ports are added.
        codes = np.array(["", *ports], dtype="S8").view("<u8").astype(np.uint64)
        self._origs = [_mixed(codes + _odd(2 * word)) for word in range(_WORDS)]
        self._dests = [_mixed(codes + _odd(2 * word + 1)) for word in range(_WORDS)]
        self.words = [0] * _WORDS

    def watched(self, pieces: Iterable[Cells]) -> Iterator[Cells]:
        """Pass cells on, each taken first."""
        for cells in pieces:
            self._take(cells)
            yield cells

    def _take(self, cells: Cells) -> None:
        keys, counts, sums = cells[:, 0], cells[:, 1], cells[:, 2]
        origs = keys >> np.uint64(PORT_BITS + MONTH_DAY_BITS)
        dests = (keys >> np.uint64(MONTH_DAY_BITS)) & np.uint64((1 << PORT_BITS) - 1)
        days = (keys & np.uint64((1 << MONTH_DAY_BITS) - 1)) * _odd(4)
        for word in range(_WORDS):
            lanes = _mixed(self._origs[word][origs] + self._dests[word][dests] + days)
            total = int(np.sum(lanes * (counts + sums * _odd(5 + word))))
            self.words[word] = (self.words[word] + total) % _MODULUS


def rates_digest(shards: Iterable[Sequence[int]]) -> str:
    """Return the digest of a batch from the words of its shards, in hexadecimal."""
    return "".join(f"{sum(words) % _MODULUS:016x}" for words in zip(*shards, strict=True))


def _odd(number: int) -> np.uint64:
    """Return one of a few odd constants (multiples of 2**64 over the golden ratio, as SplitMix64 has them)."""
    return np.uint64((0x9E3779B97F4A7C15 * (2 * number + 1)) % _MODULUS)


def _mixed(numbers: Numbers) -> Numbers:
    """Return numbers in which each bit depends on each bit (the last step of SplitMix64, by Steele, Lea and Flood)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Numbers = numbers ^ (numbers >> np.uint64(31))
    return mixed
