"""Counts and sums the prices of a batch by lane and day, for ports and up the tree of regions.

`ratesflow.loader.freight.grouped_sums` bounds the number of lanes and days in memory.
"""

from calendar import monthrange
from collections.abc import Iterable, Iterator, Sequence
from datetime import date

import numpy as np
import numpy.typing as npt
import orjson

from ratesflow.database.reference import Reference
from ratesflow.loader.freight.grouped_sums import Cells, SpillingAggregator, sum_by_key
from ratesflow.loader.freight.pandas_without_arrow import pd
from ratesflow.loader.freight.rows import Integers, Rows

DAYS = 31
# A lane and day as a 64-bit key: origin and destination of 21 bits each, months since year 0, day of the month from 0.
# Keys sort in the order of the index on `rates`.
PORT_BITS, MONTH_BITS, DAY_BITS = 21, 17, 5
MONTH_DAY_BITS = MONTH_BITS + DAY_BITS
# Lane-months that are converted to text at a time.
PACKED_ROWS = 1024

Table = npt.NDArray[np.int64]
LaneMonths = tuple[Integers, Integers, Integers, Table, Table]
"""Numbers of origins and destinations, months since year 0, and tables of counts and sums by day of the month."""


class RateCounts:
    """Counts and sums of prices by lane and day."""

    def __init__(self) -> None:
        self._cells = SpillingAggregator()

    def add(self, rows: Rows) -> None:
        """Count valid rows."""
        if not len(rows):
            return
        months, days = _calendar(rows.days)
        codes, keys = pd.factorize(_keys(rows.origs, rows.dests, (months << DAY_BITS) | days))
        cells = np.empty((len(keys), 3), dtype=np.uint64)
        cells[:, 0] = keys
        cells[:, 1] = np.bincount(codes)
        # bincount sums doubles. The sums are exact: fewer than 2**22 rows at a time, of at most 2**31 dollars each.
        cells[:, 2] = np.bincount(codes, weights=rows.prices)
        self._cells.add(cells)

    def read(self) -> Iterator[Cells]:
        """Yield the cells in the order of their keys, each key once."""
        return self._cells.read()


def _keys(origs: Integers, dests: Integers, days: Integers) -> npt.NDArray[np.uint64]:
    """Return the keys of lanes between ports or regions; `days` are month and day in one number."""
    return ((origs << (PORT_BITS + MONTH_DAY_BITS)) | (dests << MONTH_DAY_BITS) | days).view(np.uint64)


def _lane(cells: Cells) -> tuple[Integers, Integers, Integers]:
    """Return the origins, destinations and days of cells: the inverse of `_keys`."""
    keys = cells[:, 0]
    origs = keys >> np.uint64(PORT_BITS + MONTH_DAY_BITS)
    dests = (keys >> np.uint64(MONTH_DAY_BITS)) & np.uint64((1 << PORT_BITS) - 1)
    days = keys & np.uint64((1 << MONTH_DAY_BITS) - 1)
    return origs.astype(np.int64), dests.astype(np.int64), days.astype(np.int64)


def lane_months(pieces: Iterable[Cells]) -> Iterator[LaneMonths]:
    """Convert cells, which are sorted, to rows per lane and month; yield up to PACKED_ROWS at a time."""
    rest = np.empty((0, 3), dtype=np.uint64)
    for piece in pieces:
        cells = np.concatenate((rest, piece))
        lanes = cells[:, 0] >> np.uint64(DAY_BITS)
        # The last lane and month may continue in the next piece.
        last = int(np.searchsorted(lanes, lanes[-1]))
        yield from _unfolded(cells[:last])
        rest = cells[last:]
    yield from _unfolded(rest)


def _unfolded(cells: Cells) -> Iterator[LaneMonths]:
    firsts = np.flatnonzero(np.diff(cells[:, 0] >> np.uint64(DAY_BITS), prepend=np.uint64(0)))
    for at in range(0, len(firsts), PACKED_ROWS):
        stop = firsts[at + PACKED_ROWS] if at + PACKED_ROWS < len(firsts) else len(cells)
        some = firsts[at : at + PACKED_ROWS]
        origs, dests, days = _lane(cells[some[0] : stop])
        rows = np.repeat(np.arange(len(some)), np.diff(some, append=stop))
        counts = np.zeros((len(some), DAYS), dtype=np.int64)
        sums = np.zeros((len(some), DAYS), dtype=np.int64)
        of_month = days & ((1 << DAY_BITS) - 1)
        counts[rows, of_month] = cells[some[0] : stop, 1]
        sums[rows, of_month] = cells[some[0] : stop, 2]
        begin = some - some[0]
        yield origs[begin], dests[begin], days[begin] >> DAY_BITS, counts, sums


def _calendar(days: Integers) -> tuple[Integers, Integers]:
    """Return months since year 0 and days of the month from 0, for days since 0001-01-01 as 1."""
    back, distinct = pd.factorize(days)
    dates = [date.fromordinal(day) for day in distinct.tolist()]
    months = np.array([day.year * 12 + day.month - 1 for day in dates], dtype=np.int64)
    of_month = np.array([day.day - 1 for day in dates], dtype=np.int64)
    return months[back], of_month[back]


def copy_rows(
    counted: Iterable[Cells], batch_no: int, ports: Sequence[str], reference: Reference, sign: int = 1
) -> Iterator[bytes]:
    """Yield blocks of lines for COPY rates (batch_no, month, orig_code, dest_code, counts, sums).

    First the rates of ports, then those of regions, both in the order of the index on `rates`. A price counts once for
    each pair of a region above its origin and a region above its destination.
    `counted` are the cells of a RateCounts, `ports` the codes in the order of their numbers, from 1. All counts and
    sums are multiplied by `sign`.
    """
    slugs = sorted(reference.regions)
    numbers = {slug: number for number, slug in enumerate(slugs)}
    above = [[numbers[slug] for slug in reference.regions_of[code]] for code in ports]
    # Sum by pairs of direct parents first, which are few, and from there up the tree.
    direct = SpillingAggregator()
    parent = np.array([0, *(line[0] for line in above)], dtype=np.int64)
    cells = _passed_on(counted, direct, [(parent, parent)])
    yield from _packed(batch_no, lane_months(cells), ["", *ports], sign)
    climb = np.full((len(slugs), max(map(len, above), default=0)), -1, dtype=np.int64)
    for line in above:
        climb[line[0], : len(line)] = line
    regions = SpillingAggregator()
    for _ in _passed_on(direct.read(), regions, [(up, across) for up in climb.T for across in climb.T]):
        pass
    yield from _packed(batch_no, lane_months(regions.read()), slugs, sign)


def _passed_on(
    pieces: Iterable[Cells], to: SpillingAggregator, ways: list[tuple[Integers, Integers]]
) -> Iterator[Cells]:
    """Yield the cells unchanged, and add them to `to`, once for each pair of maps in `ways`.

    A pair maps the numbers of origins and destinations to other numbers; cells with a number mapped to -1 are skipped.
    """
    for cells in pieces:
        origs, dests, days = _lane(cells)
        for up, across in ways:
            above, beyond = up[origs], across[dests]
            there = (above >= 0) & (beyond >= 0)
            moved = cells[there]
            moved[:, 0] = _keys(above[there], beyond[there], days[there])
            to.add(sum_by_key(moved))
        yield cells


def _packed(batch_no: int, lanes: Iterable[LaneMonths], names: Sequence[str], sign: int) -> Iterator[bytes]:
    for origs, dests, months, counts, sums in lanes:
        firsts = {month: f"{month // 12:04}-{month % 12 + 1:02}-01" for month in set(months.tolist())}
        keys = zip(months.tolist(), origs.tolist(), dests.tolist(), strict=True)
        arrays = zip(_arrays(months, sign * counts), _arrays(months, sign * sums), strict=True)
        yield b"".join(
            b"%d\t%b\t{%b}\t{%b}\n" % (batch_no, f"{firsts[month]}\t{names[orig]}\t{names[dest]}".encode(), *pair)
            for (month, orig, dest), pair in zip(keys, arrays, strict=True)
        )


def _arrays(months: Integers, table: Table) -> list[bytes]:
    """Return each row, without days that its month does not have, as the text inside the `{}` of a PostgreSQL array."""
    found = [b""] * len(months)
    for month in set(months.tolist()):
        rows = np.flatnonzero(months == month)
        days = monthrange(month // 12, month % 12 + 1)[1]
        # All rows of a month at once, which is much faster than row by row.
        text = orjson.dumps(np.ascontiguousarray(table[rows, :days]), option=orjson.OPT_SERIALIZE_NUMPY)
        for at, row in zip(rows.tolist(), text[2:-2].split(b"],["), strict=True):
            found[at] = row
    return found
