"""The generated batches resemble those of suppliers, and are deterministic."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.loading import lanes
from ratesflow.database.reference import builtin
from ratesflow.loader.files.read_shard import validate_file
from ratesflow.loader.freight.dataset import FreightPrices

ROWS = 100_000


def test_batches_depend_only_on_the_seed(tmp_path: Path):
    digests = [
        hashlib.sha256(lanes.write(tmp_path / "batch.csv", 5_000, seed).read_bytes()).digest() for seed in (1, 1, 2)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_batch_has_the_requested_valid_rows(tmp_path: Path):
    report = validate_file(lanes.write(tmp_path / "batch.csv", 20_001, 1), FreightPrices(), builtin())
    assert (report.accepted, report.rows) == (True, 20_001)


def test_prices_have_no_leading_zeros(tmp_path: Path):
    prices = lanes.make(1000, 1)
    lines = b"".join(lanes.csv_pieces(prices)).decode().splitlines()[1:]
    assert [line.rpartition(",")[2] for line in lines] == [str(price) for price in prices.prices.tolist()]


def test_thousands_of_lanes_have_several_prices_per_day():
    prices = lanes.make(ROWS, 1, days=6)
    lane_days = Counter(zip(prices.origs.tolist(), prices.dests.tolist(), prices.days.tolist(), strict=True))
    busy = sorted(lane_days.values())
    assert 3_000 < len({lane_day[:2] for lane_day in lane_days}) <= lanes.LANES
    assert 3 <= np.mean(busy) <= 8
    assert busy[len(busy) // 10] < 3  # some days have too few prices for an average
    assert busy[-1] > 20  # and a few lanes have most of the trade


def test_prices_are_similar_within_a_lane_and_differ_between_lanes():
    prices = lanes.make(ROWS, 1)
    keys = prices.origs * 1000 + prices.dests
    busiest = [key for key, _ in Counter(keys.tolist()).most_common(50)]
    within = [prices.prices[keys == key].std() / prices.prices[keys == key].mean() for key in busiest]
    between = np.std([prices.prices[keys == key].mean() for key in busiest]) / np.mean(prices.prices)
    assert np.median(within) < 0.2 < between


@pytest.mark.parametrize("order", ["arrival", "lane"])
def test_batches_are_ordered_by_day_or_lane(order: lanes.Order):
    prices = lanes.make(20_000, 1, order)
    by_day, by_lane = prices.days, prices.origs * 1000 + prices.dests
    rising, mixed = (by_day, by_lane) if order == "arrival" else (by_lane, by_day)
    assert (np.diff(rising) >= 0).all()
    assert (np.diff(mixed) < 0).mean() > (0.4 if order == "arrival" else 0.1)
