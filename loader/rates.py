"""Counts and sums the prices of a batch by lane and month, and adds them up over the tree of regions."""

from calendar import monthrange
from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np
import numpy.typing as npt
import orjson

from database.reference import Reference
from loader.frames import pd
from loader.rows import Integers, Rows

DAYS = 31
# A lane-month as one number: two ports of 21 bits each, and the months since year 0 in 20 bits.
PORT_BITS, MONTH_BITS = 21, 20
# Rows that are kept before they are counted: counting looks at each lane-month anew.
KEPT_ROWS = 1 << 16
# Rows whose text is made at a time.
PACKED_ROWS = 4096

Table = npt.NDArray[np.int64]


class RateCounts:
    """Counts and sums of prices, one row a lane and month, one column a day of the month."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}
        self._counts = np.zeros((1024, DAYS), dtype=np.int64)
        self._sums = np.zeros((1024, DAYS), dtype=np.int64)
        self._kept: list[tuple[Integers, Integers, Integers]] = []
        self._kept_rows = 0

    def add(self, rows: Rows) -> None:
        """Count rows that passed the check."""
        if not len(rows):
            return
        months, days = _calendar(rows.days)
        keys = (rows.origs << (PORT_BITS + MONTH_BITS)) | (rows.dests << MONTH_BITS) | months
        self._kept.append((keys, days, rows.prices))
        self._kept_rows += len(rows)
        if self._kept_rows >= KEPT_ROWS:
            self._count()

    def _count(self) -> None:
        if not self._kept:
            return
        keys, days, prices = (np.concatenate(column) for column in zip(*self._kept, strict=True))
        self._kept, self._kept_rows = [], 0
        codes, found = pd.factorize(keys)
        cells = codes * DAYS + days
        size = len(found) * DAYS
        # As doubles these sums are exact: far fewer than 2**22 rows are kept, of at most 2**31 dollars.
        sums = np.bincount(cells, weights=prices, minlength=size).astype(np.int64)
        at = [self._rows.setdefault(key, len(self._rows)) for key in found.tolist()]
        self._grow()
        self._counts[at] += np.bincount(cells, minlength=size).reshape(-1, DAYS)
        self._sums[at] += sums.reshape(-1, DAYS)

    def _grow(self) -> None:
        if len(self._rows) > len(self._counts):
            # In place, and with little to spare: these are what grows with the lanes and months of a batch.
            for table in (self._counts, self._sums):
                table.resize((len(self._rows) * 5 // 4, DAYS), refcheck=False)

    def lanes(self) -> tuple[Integers, Integers, Integers, Table, Table]:
        """Return numbers of origins, of destinations, months since year 0, counts and sums, as counted."""
        self._count()
        keys = np.fromiter(self._rows, dtype=np.int64, count=len(self._rows))
        origs = keys >> (PORT_BITS + MONTH_BITS)
        dests = (keys >> MONTH_BITS) & ((1 << PORT_BITS) - 1)
        months = keys & ((1 << MONTH_BITS) - 1)
        return origs, dests, months, self._counts[: len(keys)], self._sums[: len(keys)]


def _calendar(days: Integers) -> tuple[Integers, Integers]:
    """Return months since year 0 and days of the month from 0, for days since 0001-01-01 as 1."""
    back, distinct = pd.factorize(days)
    dates = [date.fromordinal(day) for day in distinct.tolist()]
    months = np.array([day.year * 12 + day.month - 1 for day in dates], dtype=np.int64)
    of_month = np.array([day.day - 1 for day in dates], dtype=np.int64)
    return months[back], of_month[back]


def copy_rows(counts: RateCounts, batch_no: int, ports: Sequence[str], reference: Reference) -> Iterator[bytes]:
    """Yield lines, many at a time, for COPY rates (batch_no, month, orig_code, dest_code, counts, sums).

    First those of ports, then those of regions.
    `ports` are the codes in the order of their numbers, which begin at 1. A price counts once in each pair
    of a region above its origin and a region above its destination.
    """
    origs, dests, months, table, sums = counts.lanes()
    yield from _packed(batch_no, months, origs - 1, dests - 1, ports, table, sums)
    slugs = list(reference.regions)
    numbers = {slug: number for number, slug in enumerate(slugs)}
    above = [[numbers[slug] for slug in reference.regions_of[code]] for code in ports]
    # First to the direct parents, which shrinks the table, then up the tree from there.
    parent = np.array([line[0] for line in above], dtype=np.int64)
    direct = _grouped(parent[origs - 1], parent[dests - 1], months, table, sums)
    lines = {line[0]: line for line in above}
    depth = max(map(len, above), default=0)
    climb = np.full((len(slugs), depth), -1, dtype=np.int64)
    for slug, line in lines.items():
        climb[slug, : len(line)] = line
    origs, dests, months, table, sums = _climbed(climb, *direct)
    yield from _packed(batch_no, months, origs, dests, slugs, table, sums)


def _climbed(
    climb: Table, origs: Integers, dests: Integers, months: Integers, counts: Table, sums: Table
) -> tuple[Integers, Integers, Integers, Table, Table]:
    pieces = []
    for up in climb.T:
        for across in climb.T:
            there = (up[origs] >= 0) & (across[dests] >= 0)
            pieces.append((up[origs][there], across[dests][there], months[there], counts[there], sums[there]))
    if not pieces:
        return origs, dests, months, counts, sums
    columns = [np.concatenate(column) for column in zip(*pieces, strict=True)]
    return _grouped(*columns)


def _grouped(
    origs: Integers, dests: Integers, months: Integers, counts: Table, sums: Table
) -> tuple[Integers, Integers, Integers, Table, Table]:
    """Add up rows of the same lane and month."""
    keys = (origs << (PORT_BITS + MONTH_BITS)) | (dests << MONTH_BITS) | months
    codes, found = pd.factorize(keys)
    grouped_counts = np.zeros((len(found), DAYS), dtype=np.int64)
    grouped_sums = np.zeros((len(found), DAYS), dtype=np.int64)
    np.add.at(grouped_counts, codes, counts)
    np.add.at(grouped_sums, codes, sums)
    found = np.asarray(found, dtype=np.int64)
    return (
        found >> (PORT_BITS + MONTH_BITS),
        (found >> MONTH_BITS) & ((1 << PORT_BITS) - 1),
        found & ((1 << MONTH_BITS) - 1),
        grouped_counts,
        grouped_sums,
    )


def _packed(
    batch_no: int,
    months: Integers,
    origs: Integers,
    dests: Integers,
    names: Sequence[str],
    counts: Table,
    sums: Table,
) -> Iterator[bytes]:
    rank = np.empty(len(names), dtype=np.int64)
    rank[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    # In the order of the index that reads them.
    order = np.lexsort((months, rank[dests], rank[origs]))
    firsts = {month: f"{month // 12:04}-{month % 12 + 1:02}-01" for month in set(months.tolist())}
    for start in range(0, len(order), PACKED_ROWS):
        some = order[start : start + PACKED_ROWS]
        lanes = zip(months[some].tolist(), origs[some].tolist(), dests[some].tolist(), strict=True)
        arrays = zip(_arrays(months[some], counts[some]), _arrays(months[some], sums[some]), strict=True)
        yield b"".join(
            b"%d\t%b\t{%b}\t{%b}\n" % (batch_no, f"{firsts[month]}\t{names[orig]}\t{names[dest]}".encode(), *pair)
            for (month, orig, dest), pair in zip(lanes, arrays, strict=True)
        )


def _arrays(months: Integers, table: Table) -> list[bytes]:
    """Return the numbers of each row, for as many days as its month has, as PostgreSQL writes arrays inside `{}`."""
    found = [b""] * len(months)
    for month in set(months.tolist()):
        rows = np.flatnonzero(months == month)
        days = monthrange(month // 12, month % 12 + 1)[1]
        # Of all rows at once, which is much faster than of one after the other.
        text = orjson.dumps(np.ascontiguousarray(table[rows, :days]), option=orjson.OPT_SERIALIZE_NUMPY)
        for at, row in zip(rows.tolist(), text[2:-2].split(b"],["), strict=True):
            found[at] = row
    return found
