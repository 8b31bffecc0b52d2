"""Generates a batch of prices from a seed: many lanes, several prices a day, some days with too few.

It uses only `random.Random.random`, whose sequence Python guarantees for a seed: the same arguments produce the same
bytes with every version.
"""

import random
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

HEADER = "orig_code,dest_code,day,price"
FIRST_DAY = date(2021, 2, 1)
MIN_DAYS = 28
PRICES_A_DAY = 4  # on average
INVALID = (
    ("XXXXX", None, None, None),
    (None, "xx", None, None),
    (None, None, "2021-02-30", None),
    (None, None, "01/02/2021", None),
    (None, None, None, "0"),
    (None, None, None, "-12"),
    (None, None, None, "1234.5"),
    (None, None, None, "abc"),
    (None, None, None, ""),
)


def sample_lines(ports: Sequence[str], rows: int, seed: int, invalid: int = 0) -> Iterator[str]:
    """Yield the lines of a CSV batch, header first, without line ends; `invalid` of its rows are invalid.

    Raises ValueError for fewer than two ports or more invalid rows than rows.
    """
    if len(ports) < 2 or not 0 <= invalid <= rows:
        raise ValueError(f"cannot make {rows} rows, {invalid} of them invalid, from {len(ports)} ports")
    dice = random.Random(seed)  # noqa: S311 reproducible, not secret
    chosen = _choose(rows, invalid, dice)
    yield HEADER
    for number, row in enumerate(_rows(ports, rows, dice)):
        yield ",".join(_invalidate(row, dice) if number in chosen else row)


def _rows(ports: Sequence[str], rows: int, dice: random.Random) -> Iterator[list[str]]:
    lanes = _lanes(ports, dice)
    days = max(MIN_DAYS, -(-rows // (len(lanes) * PRICES_A_DAY)) + 1)
    calendar = [(FIRST_DAY + timedelta(days=n)).isoformat() for n in range(days)]
    made = 0
    while True:
        for origin, destination in lanes:
            level = 400 + 2600 * dice.random()
            for day in calendar:
                level *= 0.985 + 0.03 * dice.random()
                for _ in range(1 + int(2 * (PRICES_A_DAY - 0.5) * dice.random())):
                    if made == rows:
                        return
                    made += 1
                    yield [origin, destination, day, str(max(1, round(level * (0.9 + 0.2 * dice.random()))))]


def _lanes(ports: Sequence[str], dice: random.Random) -> list[tuple[str, str]]:
    lanes = [
        (origin, destination) for origin in sorted(ports) for destination in sorted(ports) if origin != destination
    ]
    keyed = sorted((dice.random(), lane) for lane in lanes)
    return [lane for _, lane in keyed]


def _choose(rows: int, invalid: int, dice: random.Random) -> set[int]:
    """Return the numbers of the rows to make invalid."""
    if invalid > rows // 2:
        keyed = sorted((dice.random(), number) for number in range(rows))
        return {number for _, number in keyed[:invalid]}
    chosen: set[int] = set()
    while len(chosen) < invalid:
        chosen.add(int(dice.random() * rows))
    return chosen


def _invalidate(row: list[str], dice: random.Random) -> list[str]:
    replacement = INVALID[int(dice.random() * len(INVALID))]
    return [old if new is None else new for old, new in zip(row, replacement, strict=True)]
