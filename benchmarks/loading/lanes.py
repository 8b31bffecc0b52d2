"""Generates realistic batches: thousands of lanes, few of them busy, with several prices per lane and day.

The same seed gives the same bytes on one version of numpy. Ten million rows take ten seconds, by vectorised code.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ratesflow.database.reference import builtin

Order = Literal["arrival", "lane"]
"""`arrival`: by day, with the lanes mixed; `lane`: sorted by lane, like an export."""

HEADER = b"orig_code,dest_code,day,price\n"
LANES = 4000
PRICES_A_DAY = 4.2  # of a lane, on average
FIRST_DAY = date(2021, 1, 1)
# Rows written at a time.
_SLICE = 500_000
# The variation between ports and lanes: standard deviations of logarithms.
_PORT_SPREAD, _LANE_SPREAD = 0.5, 0.4
_PRICE_DIGITS = 5

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Prices:
    """Rows as columns: numbers of ports in `ports`, days since the first, whole US dollars."""

    ports: list[str]
    origs: Integers
    dests: Integers
    days: Integers
    prices: Integers

    def __len__(self) -> int:
        return len(self.prices)


def make(rows: int, seed: int, order: Order = "arrival", days: int | None = None) -> Prices:
    """Return `rows` prices. By default, over as many days as give each lane about four prices a day."""
    rng = np.random.default_rng(seed)
    ports = sorted(builtin().ports)
    origs, dests, weights = _lanes(len(ports), rng)
    days = days or max(2, round(rows / (LANES * PRICES_A_DAY)))
    counts = _counts(rows, weights, days, rng)
    lane, day = (index.astype(np.int64) for index in np.divmod(np.repeat(np.arange(counts.size), counts), days))
    prices = _quotes(lane, day, days, rng)
    if order == "arrival":
        order_of_rows = np.lexsort((rng.random(len(lane)), day))
        lane, day, prices = lane[order_of_rows], day[order_of_rows], prices[order_of_rows]
    return Prices(ports, origs[lane], dests[lane], day, prices)


def _lanes(ports: int, rng: np.random.Generator) -> tuple[Integers, Integers, npt.NDArray[np.float64]]:
    """Return origin, destination and share of the prices of each lane: busy ports have busy lanes."""
    size = rng.lognormal(0, _PORT_SPREAD, ports)
    origs, dests = np.nonzero(~np.eye(ports, dtype=bool))
    pull = size[origs] * size[dests] * rng.lognormal(0, _LANE_SPREAD, len(origs))
    chosen = np.sort(rng.choice(len(origs), size=min(LANES, len(origs)), replace=False, p=pull / pull.sum()))
    weights = pull[chosen]
    return origs[chosen], dests[chosen], weights / weights.sum()


def _counts(rows: int, weights: npt.NDArray[np.float64], days: int, rng: np.random.Generator) -> Integers:
    """Return how many prices each lane has on each day, lane by lane: exactly `rows` in all."""
    # Half as many on the two days of the weekend.
    week = np.where((np.arange(days) + FIRST_DAY.weekday()) % 7 >= 5, 0.5, 1.0)
    share = np.outer(weights, week).ravel()
    counts: Integers = rng.multinomial(rows, share / share.sum()).astype(np.int64)
    return counts


def _quotes(lane: Integers, day: Integers, days: int, rng: np.random.Generator) -> Integers:
    """Return prices around the level of their lane, which changes from day to day."""
    level = rng.lognormal(np.log(1800), 0.6, LANES)
    walk = np.exp(np.cumsum(rng.normal(0, 0.01, (LANES, days)), axis=1) * min(1.0, 8 / days**0.5))
    quotes = level[lane] * walk[lane, day] * rng.normal(1, 0.06, len(lane))
    found: Integers = np.clip(np.rint(quotes), 50, 10**_PRICE_DIGITS - 1).astype(np.int64)
    return found


def csv_pieces(prices: Prices) -> Iterator[bytes]:
    """Yield the batch as CSV: the header, then pieces of some megabytes."""
    yield HEADER
    ports = np.array([list(code.encode()) for code in prices.ports], dtype=np.uint8)
    count = int(prices.days.max()) + 1
    days = np.array(
        [list((FIRST_DAY + timedelta(days=n)).isoformat().encode()) for n in range(count)],
        dtype=np.uint8,
    )
    for at in range(0, len(prices), _SLICE):
        part = slice(at, at + _SLICE)
        yield _csv(ports[prices.origs[part]], ports[prices.dests[part]], days[prices.days[part]], prices.prices[part])


def _csv(origs: Any, dests: Any, days: Any, prices: Integers) -> bytes:
    """Write the lines as a matrix of bytes, then drop the leading zeros of each price."""
    powers = 10 ** np.arange(_PRICE_DIGITS - 1, -1, -1)
    digits = prices[:, None] // powers % 10
    comma = np.full((len(prices), 1), ord(","), dtype=np.uint8)
    line_end = np.full((len(prices), 1), ord("\n"), dtype=np.uint8)
    lines = np.hstack([origs, comma, dests, comma, days, comma, (digits + ord("0")).astype(np.uint8), line_end])
    kept = np.ones(lines.shape, dtype=bool)
    kept[:, -1 - _PRICE_DIGITS : -1] = prices[:, None] >= powers
    return lines[kept].tobytes()


def write(path: Path, rows: int, seed: int, order: Order = "arrival", days: int | None = None) -> Path:
    """Write a batch of `rows` rows to `path`, and return it."""
    with path.open("wb") as file:
        file.writelines(csv_pieces(make(rows, seed, order, days)))
    return path
