"""Lists of tasks that are written by hand: each has all tasks, but those that are named here with a reason."""

import re
from pathlib import Path

from ratesflow.loader.tasks.registry import task_names
from tests.faults.campaign import actions

ROOT = Path(__file__).parents[2]
NOT_IN_CAMPAIGN = {
    "ledger": "it only reads",
    "migrate": "it changes the schema, not batches: tests/database/test_migrate.py",
    "reference": "the action `move` loads reference data as it does",
}
"""The tasks that the campaign of faults leaves out."""


def test_the_campaign_of_faults_has_all_tasks() -> None:
    """Each task that changes batches or rates is among the actions of the campaign; the others have a reason."""
    covered = {task.__name__ for task in actions.TASKS} | {*actions.OTHERS, *actions.SUSPENDABLE}
    assert set(task_names()) - covered == set(NOT_IN_CAMPAIGN)


def test_the_test_of_terraform_has_all_tasks() -> None:
    """The list of tasks that Terraform's own test keeps from being removed has every task."""
    source = (ROOT / "terraform" / "tests" / "tasks.tftest.hcl").read_text(encoding="utf-8")
    (listed,) = re.findall(r"length\(setsubtract\(\s*\[(.*?)\]", source, re.DOTALL)
    assert re.findall(r'"(\w+)"', listed) == task_names()
