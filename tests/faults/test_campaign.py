"""A short `make soak`: rounds of batches and injected faults on the embedded stack, without violations.

RATESFLOW_SEED, RATESFLOW_ROUNDS, RATESFLOW_BATCHES, RATESFLOW_FAULTS, RATESFLOW_ORDERS and RATESFLOW_SECONDS change
the plan.
"""

import os
from pathlib import Path

import pytest

from tests.faults.campaign.counting import Plan, uploaded
from tests.faults.campaign.run import Campaign


def _setting(name: str, default: int) -> int:
    return int(os.environ.get(f"RATESFLOW_{name}", default))


@pytest.mark.timeout(600)
def test_invariants_hold_under_injected_faults(tmp_path: Path) -> None:
    """Under kills, network failures, repeated events and full disks, every batch is visible wholly or not at all."""
    plan = Plan(
        seed=_setting("SEED", 7),
        rounds=_setting("ROUNDS", 1),
        batches=_setting("BATCHES", 6),
        faults=_setting("FAULTS", 14),
        seconds=_setting("SECONDS", 12),
        orders=_setting("ORDERS", 3),
        moves=2,
        shards=(2, 3),
    )
    figures = Campaign(plan, tmp_path).run(print)
    assert figures.violations == []
    assert uploaded(figures) >= plan.batches * plan.rounds
    assert figures.faults.total() >= plan.faults * plan.rounds // 2
    for name in ("primary", "standby", "slow standby", "API", "API of the standbys"):
        assert figures.reads[name]["whole"] > 0
        assert figures.reads[name]["part"] == 0
    assert figures.counted["moves"] == 2 * plan.rounds
    assert figures.counted["merges"] > 0
