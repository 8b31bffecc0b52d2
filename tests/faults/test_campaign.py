"""The quick form of `make soak`: rounds of batches and strikes on the embedded stack, after which nothing is wrong.

RATESFLOW_SEED, RATESFLOW_ROUNDS, RATESFLOW_BATCHES, RATESFLOW_STRIKES, RATESFLOW_ORDERS and RATESFLOW_SECONDS choose
another.
"""

import os
from pathlib import Path

import pytest

from tests.faults.campaign.counting import Plan, uploaded
from tests.faults.campaign.run import Campaign


def _wanted(name: str, default: int) -> int:
    return int(os.environ.get(f"RATESFLOW_{name}", default))


@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nobody_sees_a_part(tmp_path: Path) -> None:
    """Killed, cut off, flooded and out of disk, every batch is wholly in or wholly out, told of once, and tidied up."""
    plan = Plan(
        seed=_wanted("SEED", 7),
        rounds=_wanted("ROUNDS", 1),
        batches=_wanted("BATCHES", 6),
        strikes=_wanted("STRIKES", 14),
        seconds=_wanted("SECONDS", 12),
        orders=_wanted("ORDERS", 3),
        moves=2,
        shards=(2, 3),
    )
    figures = Campaign(plan, tmp_path).run(print)
    assert figures.wrong == []
    assert uploaded(figures) >= plan.batches * plan.rounds
    assert figures.strikes.total() >= plan.strikes * plan.rounds // 2
    for name in ("primary", "standby", "slow standby", "API", "API of the standbys"):
        assert figures.looked[name]["whole"] > 0
        assert figures.looked[name]["part"] == 0
    assert figures.counted["moves"] == 2 * plan.rounds
    assert figures.counted["merges"] > 0
