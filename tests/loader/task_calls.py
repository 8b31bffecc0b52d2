"""Calls of tasks as `ratesflow.loader.__main__` makes them, which hands in the dataset where a task takes one."""

from collections.abc import Callable
from inspect import signature
from typing import Any

from ratesflow.loader.freight.dataset import FreightPrices


def call_task(task: Callable[..., Any], connection: Any, *arguments: Any) -> Any:
    """Call a task, with the dataset if it takes one."""
    dataset = {"dataset": FreightPrices()} if "dataset" in signature(task).parameters else {}
    return task(connection, *arguments, **dataset)
