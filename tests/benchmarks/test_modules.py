"""Every part of the benchmarks fits the product that it measures, whether it is run or not."""

import importlib
import pkgutil

import pytest

import benchmarks

ELSEWHERE = {"api_flask", "api_fastapi"}  # run in an environment of their own


@pytest.mark.parametrize(
    "name", sorted({module.name for module in pkgutil.iter_modules(benchmarks.__path__)} - ELSEWHERE)
)
def test_is_whole(name: str) -> None:
    """What it takes from the product is there."""
    assert importlib.import_module(f"benchmarks.{name}")
