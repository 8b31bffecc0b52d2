"""Counting in bounded memory, and splitting lines of fixed width, compared with plain implementations."""

import itertools
import random
import tracemalloc
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratesflow.loader.freight import fixed_width, grouped_sums
from ratesflow.loader.freight.csv_columns import VectorizedValidator
from ratesflow.loader.freight.grouped_sums import SpillingAggregator
from ratesflow.loader.freight.rates import RateCounts, lane_months
from ratesflow.loader.freight.rows import Rows
from ratesflow.loader.freight.schema import COLUMNS

PORTS = ["CNSHA", "NLRTM", "USNYC"]
LARGEST = 2**64 - 1
keys = st.one_of(st.integers(0, 9), st.integers(LARGEST - 9, LARGEST))
added = st.lists(st.lists(st.tuples(keys, st.integers(1, 9), st.integers(1, 2**40)), max_size=9), max_size=40)


@given(added, st.integers(2, 30), st.integers(2, 4))
@settings(max_examples=300, deadline=None)
def test_cells_are_added_up_however_many_are_kept(pieces: list, kept: int, files: int) -> None:
    """Each key once, in order, with all that was added; in memory, in files, and in files that became one."""
    counts = SpillingAggregator(kept)
    expected: dict[int, list[int]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grouped_sums, "MAX_FILES", files)
        for piece in pieces:
            counts.add(np.array(piece, dtype=np.uint64).reshape(-1, 3))
            for key, count, total in piece:
                row = expected.setdefault(key, [0, 0])
                row[0] += count
                row[1] += total
        found = [tuple(row) for piece in counts.read() for row in piece.tolist()]
    assert found == [(key, *row) for key, row in sorted(expected.items())]


def _counted(pieces: int, rows: int) -> tuple[int, int, int]:
    """Count rows of random lanes and days; return prices, lane-months, and the most memory in bytes."""
    dice = np.random.default_rng(5)
    counts = RateCounts()
    tracemalloc.start()
    for _ in range(pieces):
        lanes = dice.integers(1, 2000, (2, rows))
        counts.add(Rows(lanes[0], lanes[1], dice.integers(737_000, 738_000, rows), dice.integers(1, 2**31, rows)))
    prices = found = 0
    for _, _, months, table, _ in lane_months(counts.read()):
        prices += int(table.sum())
        found += len(months)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return prices, found, most


@pytest.mark.parametrize("pieces", [5, 40])
def test_memory_does_not_grow_with_the_lanes_and_days(pieces: int) -> None:
    """However many rows there are, nearly all of another lane and month: in one table, 40 pieces would be 380 MB."""
    rows, found, most = _counted(pieces, 20_000)
    assert rows == pieces * 20_000
    assert found > 0.95 * rows
    assert most < 16 * 2**20


def test_lane_months_are_whole_wherever_pieces_end() -> None:
    """A lane and month whose days come in two pieces is one row; days of other months and lanes are others."""
    rows = [(1, 2, 738_000 + day, 100 * day) for day in range(1, 90)] + [(1, 3, 738_050, 7), (1, 3, 738_050, 8)]
    counts = RateCounts()
    counts.add(Rows(*np.array(rows, dtype=np.int64).T))
    whole = np.concatenate(list(counts.read()))
    tables = []
    for size in (1, 7, len(whole)):
        found = lane_months(whole[at : at + size] for at in range(0, len(whole), size))
        tables.append([np.concatenate(column).tolist() for column in zip(*found, strict=True)])
    assert tables[0] == tables[1] == tables[2]
    assert sum(map(sum, tables[0][3])) == len(rows)
    assert sum(map(sum, tables[0][4])) == sum(row[3] for row in rows)


codes = st.sampled_from([*PORTS, *PORTS, *PORTS, "CNXXX", "12345", "c sha"])
days = st.sampled_from(
    ["2021-01-31", "2021-02-28", "2021-02-29", "1999-12-31", "0000-01-01", "2021-1-101", "abcdefghij"]
)
prices = st.integers(1, 99_999_999).map(str) | st.sampled_from(["0", "00000000", "007", "-5", "+5", "1e3", "5.0", " 5"])
lines = st.tuples(codes, codes, days, prices)


line_ends = st.sampled_from([["\n"], ["\r\n"], ["\n", "\r\n", "\r\n"]]).map(itertools.cycle)


@given(st.lists(lines, min_size=1, max_size=20), st.permutations(COLUMNS), line_ends)
@settings(max_examples=400, deadline=None)
def test_lines_of_one_shape_are_split_and_taken_as_line_by_line(rows: list, columns: list[str], ends: Any) -> None:
    """Good and bad values, in any order of columns, are split, accepted and rejected as line by line."""
    order = [COLUMNS.index(column) for column in columns]
    data = "".join(",".join(row[at] for at in order) + next(ends) for row in rows).encode()
    checker = VectorizedValidator(tuple(columns), PORTS)
    found = fixed_width.split(data, len(rows), checker.columns)
    assert found is not None
    split = {name: [found[name][1][code] for code in found[name][0].tolist()] for name in COLUMNS}
    assert list(zip(*(split[name] for name in COLUMNS), strict=True)) == rows
    quick, slow = {}, {}
    good = checker.check(data, len(rows), quick.__setitem__)
    plain = checker.line_by_line(data, slow.__setitem__, checker._read_line)
    assert Counter(zip(*good.columns, strict=True)) == Counter(zip(*plain.columns, strict=True))
    assert quick == slow


SHAPE = "CNSHA,NLRTM,2021-01-31,1000\n"
OTHERS = {
    "a longer code": "CNSHAI,NLRTM,2021-01-31,100\n",
    "a shorter day": "CNSHA,NLRTM,2021-1-31,1000\n",
    "nine digits": "CNSHA,NLRTM,2021-01-31,123456789\n",
    "no price": "CNSHA,NLRTM,2021-01-31,\n",
    "a comma elsewhere": "CNSH,A,NLRTM2021-01-31,1000\n",
    "quotes": 'CNSHA,"LRT",2021-01-31,1000\n',
    "not ASCII": "CNSHA,NLRé,2021-01-31,1000\n",
    "no line end": "CNSHA,NLRTM,2021-01-31,1000",
}


@pytest.mark.parametrize("name", OTHERS)
def test_lines_of_another_shape_are_left_to_pandas(name: str) -> None:
    """One line among many is enough, wherever it is."""
    dice = random.Random(1)
    for _ in range(5):
        text = [SHAPE] * 30
        text.insert(30 if name == "no line end" else dice.randrange(31), OTHERS[name])
        assert fixed_width.split("".join(text).encode(), 31, COLUMNS) is None
    assert fixed_width.split((SHAPE * 31).encode(), 31, COLUMNS) is not None
