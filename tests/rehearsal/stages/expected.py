"""The expected API responses for one lane, computed from the committed files, which all have prices of it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import urlencode

ORIG, DEST = "INNSA", "USMIA"
FIRST, DAYS = date(2021, 2, 1), 10
QUERY = urlencode(
    {
        "date_from": FIRST.isoformat(),
        "date_to": (FIRST + timedelta(days=DAYS - 1)).isoformat(),
        "orig_code": ORIG,
        "dest_code": DEST,
    }
)
MIN_PRICES = 3  # per day, for an average

Sums = dict[str, tuple[int, int]]
Answer = tuple[tuple[str, int, float | None], ...]


def lane_lines(seed: int) -> Iterator[str]:
    """Yield lines of the lane that depend on the seed: several prices each day, on one day too few."""
    for number in range(DAYS):
        day, lowest = FIRST + timedelta(days=number), 1000 + 7 * seed + 11 * number
        for price in range(2 if number == 0 else 3 + (seed + number) % 3):
            yield f"{ORIG},{DEST},{day.isoformat()},{lowest + price}"


def sums_of(path: Path) -> Sums:
    """Return count and sum of the lane's prices by day, in a file of `ratesflow sample`."""
    last = (FIRST + timedelta(days=DAYS - 1)).isoformat()
    found: Sums = {}
    with path.open(encoding="ascii") as file:
        for line in file:
            if line.startswith(f"{ORIG},{DEST},"):
                _, _, day, price = line.strip().split(",")
                if FIRST.isoformat() <= day <= last:
                    count, total = found.get(day, (0, 0))
                    found[day] = (count + 1, total + int(price))
    return found


def as_answer(rates: Iterable[Mapping[str, object]]) -> Answer:
    """Return an API response in a comparable form: days with prices, in order."""
    days = ((str(r["day"]), int(str(r["count"] or 0)), _rounded(r["price"])) for r in rates)
    return tuple(sorted(day for day in days if day[1]))


def _rounded(price: object) -> float | None:
    return None if price is None else round(float(str(price)), 4)


@dataclass
class Expected:
    """The sums of all committed files, and every response that was correct at some moment."""

    sums: Sums = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=lambda: [()])

    def add(self, path: Path) -> None:
        """Add a committed file."""
        for day, (count, total) in sums_of(path).items():
            before = self.sums.get(day, (0, 0))
            self.sums[day] = (before[0] + count, before[1] + total)
        self.answers.append(self.now())

    def now(self) -> Answer:
        """Return the expected response when all committed files are visible."""
        days = ((d, c, round(total / c, 4) if c >= MIN_PRICES else None) for d, (c, total) in self.sums.items())
        return tuple(sorted(days))
