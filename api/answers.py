"""From counts and sums to what a client reads: every day of the range, with its average."""

from collections.abc import Iterator, Mapping
from datetime import date

import orjson

MIN_PRICES = 3  # with fewer prices a day has a count, but no average

Months = Mapping[date, tuple[list[int], list[int]]]


def rates_json(first: date, last: date, months: Months) -> bytes:
    """Write every day from `first` to `last`, newest first; `months` holds counts and sums by day."""
    rates = [{"count": count, "day": day, "price": price} for day, count, price in _days(first, last, months)]
    return orjson.dumps({"rates": rates})


def rates_csv(first: date, last: date, months: Months) -> bytes:
    """Write the same as a table with a header; what is null in JSON is empty here."""
    lines = ["day,count,price"]
    for day, count, price in _days(first, last, months):
        lines.append(f"{day},{count or ''},{'' if price is None else repr(price)}")
    return ("\r\n".join(lines) + "\r\n").encode()


def _days(first: date, last: date, months: Months) -> Iterator[tuple[date, int | None, float | None]]:
    at: date | None = None
    counts: list[int] = []
    sums: list[int] = []
    for ordinal in range(last.toordinal(), first.toordinal() - 1, -1):
        day = date.fromordinal(ordinal)
        if at is None or day.month != at.month:  # consecutive days: another month has another number
            at = day.replace(day=1)
            counts, sums = months.get(at, ([], []))
        count = counts[day.day - 1] if counts else 0
        price = average(sums[day.day - 1], count) if count >= MIN_PRICES else None
        yield day, count or None, price


def average(total: int, count: int) -> float:
    """Return what PostgreSQL's ``AVG(price)::float8`` gives for `count` integers that sum up to `total`.

    PostgreSQL divides decimally, to a scale that select_div_scale (src/backend/utils/adt/numeric.c) picks
    so that the quotient has 16 significant digits at least, rounds half up, and makes that a double: two
    roundings, where a division of doubles has one. `total` and `count` are positive.

    The short way is the same for 1 <= count <= average < 10,000. There the scale is 16, so the decimal
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
