"""Every part of the benchmarks fits the product that it measures, whether it is run or not."""

import importlib
import pkgutil

import pytest

import benchmarks

ELSEWHERE = {"benchmarks.api.flask_app", "benchmarks.api.fastapi_app"}  # run in an environment of their own


@pytest.mark.parametrize(
    "name", sorted({module.name for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks.")} - ELSEWHERE)
)
def test_module_can_be_imported(name: str) -> None:
    """What it takes from the product is there."""
    assert importlib.import_module(name)
