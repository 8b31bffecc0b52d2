"""Every module of the benchmarks can be imported with the current product."""

import importlib
import pkgutil

import pytest

import benchmarks

SEPARATE = {"benchmarks.api.flask_app", "benchmarks.api.fastapi_app"}  # they run in a separate environment


@pytest.mark.parametrize(
    "name", sorted({module.name for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks.")} - SEPARATE)
)
def test_module_can_be_imported(name: str) -> None:
    """The names that a benchmark imports exist."""
    assert importlib.import_module(name)
