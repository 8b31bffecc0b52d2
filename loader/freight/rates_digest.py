"""A digest of a batch's rates between ports, the same for the same prices in any format, order or compression.

It is the sum over all cells (lane and day, count, sum) of a hash of the lane and day times a combination of count and
sum. So the digests of shards add up, although each shard has only some of a cell's prices. It has 128 bits and is not
cryptographic: equal digests only cause a notice. The probability of a collision is 2**-64 at worst.
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
    """Computes the digest of a shard's cells as `words`; ports are numbered from 1 in the order of `ports`."""

    def __init__(self, ports: Sequence[str]) -> None:
        # Hashes of codes, since port numbers change when ports are added.
        codes = np.array(["", *ports], dtype="S8").view("<u8").astype(np.uint64)
        self._origs = [_mixed(codes + _odd(2 * word)) for word in range(_WORDS)]
        self._dests = [_mixed(codes + _odd(2 * word + 1)) for word in range(_WORDS)]
        self.words = [0] * _WORDS

    def watched(self, pieces: Iterable[Cells]) -> Iterator[Cells]:
        """Yield the cells unchanged, and digest them."""
        for cells in pieces:
            self._update(cells)
            yield cells

    def _update(self, cells: Cells) -> None:
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
    """Return an odd constant: a multiple of 2**64 / golden ratio, as in SplitMix64."""
    return np.uint64((0x9E3779B97F4A7C15 * (2 * number + 1)) % _MODULUS)


def _mixed(numbers: Numbers) -> Numbers:
    """Mix each number so that every bit depends on all bits (the last step of SplitMix64; Steele, Lea and Flood)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Numbers = numbers ^ (numbers >> np.uint64(31))
    return mixed
