"""A model of the life of batches, in random order by Hypothesis, against a real database and bucket.

After each step the ledger, the prices, the rates and the region tree must agree with a recount of the files; at the
end gc must leave nothing behind. RATESFLOW_MODEL_EXAMPLES and RATESFLOW_MODEL_STEPS set a longer search.
"""

import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from ratesflow.local.postgres.server import VERSION
from tests.faults.campaign.low_limits import shrink_modules
from tests.faults.model.lifecycle import BatchLifecycle
from tests.fix_database import PASSWORD, Database, run_alone
from tests.loader.conftest import TaskHarness
from tests.rotation import rotate

EXAMPLES = int(os.environ.get("RATESFLOW_MODEL_EXAMPLES", "8"))
STEPS = int(os.environ.get("RATESFLOW_MODEL_STEPS", "16"))
_numbers = itertools.count(1)


@pytest.fixture
def make_harness(
    servers: Callable[[int], Any], harness18: TaskHarness, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], tuple[TaskHarness, Sequence[str]]]:
    """A function that creates a harness with a new database, two logins, the test's bucket and low limits."""
    shrink_modules(monkeypatch.setattr)
    monkeypatch.setattr("ratesflow.loader.runtime.connection.CONNECT_SECONDS", 0.3)
    clone = rotate(servers(VERSION).url(), "loader", PASSWORD)

    def make() -> tuple[TaskHarness, Sequence[str]]:
        server, name = servers(VERSION), f"life_{next(_numbers)}"
        run_alone(server.url(), f"CREATE DATABASE {name} TEMPLATE template")
        database = Database(server, name)
        logins = (database.loader_url, server.url(clone, PASSWORD, name))
        monkeypatch.setenv("DATABASE_URL", database.loader_url)
        return TaskHarness(database, harness18.bucket, harness18.aws), logins

    return make


@pytest.mark.timeout(900)
def test_invariants_hold_in_any_order_of_events(
    make_harness: Callable[[], tuple[TaskHarness, Sequence[str]]],
) -> None:
    """All invariants hold after tasks, tree changes, crashes and upkeep in any order."""
    default = EXAMPLES == 8
    run_state_machine_as_test(
        lambda: BatchLifecycle(make_harness),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=default,
            database=None,
            phases=[Phase.generate] if default else [Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            print_blob=not default,
        ),
    )
