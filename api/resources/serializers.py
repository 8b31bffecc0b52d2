"""Turns counts and sums into response bodies: every day of the range, with its average."""

from calendar import monthrange
from collections.abc import Iterable
from datetime import date
from functools import lru_cache
from itertools import chain

import orjson

from ratesflow.api.models.rates import Months

MIN_PRICES = 3  # with fewer prices a day has a count, but no average


def rates_json(first: date, last: date, months: Months) -> bytes:
    """Return every day from `first` to `last`, newest first, as JSON; `months` holds counts and sums by day."""
    rates = [
        {"count": count or None, "day": day, "price": average(total, count) if count >= MIN_PRICES else None}
        for day, count, total in _days(first, last, months)
    ]
    return orjson.dumps({"rates": rates})


def rates_csv(first: date, last: date, months: Months) -> bytes:
    """Return the same as CSV with a header; null is an empty field."""
    lines = ["day,count,price"]
    for day, count, total in _days(first, last, months):
        lines.append(f"{day},{count or ''},{repr(average(total, count)) if count >= MIN_PRICES else ''}")
    return ("\r\n".join(lines) + "\r\n").encode()


def _days(first: date, last: date, months: Months) -> Iterable[tuple[str, int, int]]:
    """Yield day, count and sum, newest first. This takes most of a request's own time, so it works by month."""
    parts = []
    year, month = last.year, last.month
    while (year, month) >= (first.year, first.month):
        names = _day_names(year, month)
        counts, sums = months.get(date(year, month, 1), ([0] * len(names), [0] * len(names)))
        begin = first.day - 1 if (year, month) == (first.year, first.month) else 0
        end = last.day if (year, month) == (last.year, last.month) else len(names)
        backwards = slice(end - 1, begin - 1 if begin else None, -1)
        parts.append(zip(names[backwards], counts[backwards], sums[backwards], strict=True))
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
    return parts[0] if len(parts) == 1 else chain.from_iterable(parts)


@lru_cache(maxsize=1200)
def _day_names(year: int, month: int) -> list[str]:
    return [f"{year:04}-{month:02}-{day:02}" for day in range(1, monthrange(year, month)[1] + 1)]


def average(total: int, count: int) -> float:
    """Return what PostgreSQL's ``AVG(price)::float8`` gives for `count` integers that sum up to `total`.

    PostgreSQL divides decimally, to a scale that select_div_scale (src/backend/utils/adt/numeric.c) picks
    so that the quotient has 16 significant digits at least, rounds half up, and makes that a double: two
    roundings, where a division of doubles has one. `total` and `count` are positive.

    A plain division gives the same result for 1 <= count <= average < 10,000. There the scale is 16, so the decimal
    quotient is within 5e-17 of the true one. Let 2**e <= average < 2**(e + 1); doubles and the midpoints
    between them are multiples of 2**(e - 53). If the true quotient is none, it is 2**(e - 53) / count or
    more away from any, which is over 2**-54 = 5.5e-17 since average >= count: no midpoint lies between it
    and the decimal one. If it is one, its denominator is a power of two up to `count`, so below 2**14: it
    is a double itself, and has at most 13 decimal digits, so the decimal quotient is exact.
    """
    if count * count <= total < 10_000 * count:
        return total / count
    scale = _division_scale(total, count)
    unit: int = 10**scale
    decimals: int = (2 * total * unit + count) // (2 * count)
    return decimals / unit


def _division_scale(total: int, count: int) -> int:
    """Return the number of decimal places to which PostgreSQL divides two integers above 0."""
    (weight1, digit1), (weight2, digit2) = _leading(total), _leading(count)
    quotient_weight = weight1 - weight2 - (digit1 <= digit2)
    return max(0, 16 - 4 * quotient_weight)


def _leading(number: int) -> tuple[int, int]:
    """Return the weight and the value of the first digit of a number written to the base of 10,000."""
    weight = 0
    while number >= 10_000:
        number //= 10_000
        weight += 1
    return weight, number
