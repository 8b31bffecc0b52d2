"""Runs all tasks of some batches in one process, and prints the seconds of each task of the last batch.

`python -m benchmarks.loading.warm BATCH…`, each a JSON object. After the first batch, all modules are imported and
the clients exist, so the seconds cover the work only: from a new connection to the result document in the bucket.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.servers import BUCKET
from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.batches.results import write_result
from ratesflow.loader.freight.dataset import FreightPrices
from ratesflow.loader.runtime.connection import connected
from ratesflow.loader.tasks.commit import commit
from ratesflow.loader.tasks.load import load
from ratesflow.loader.tasks.validate import validate

DATASET = FreightPrices()
TASKS: dict[str, Callable[..., Any]] = {
    "validate": partial(validate, dataset=DATASET),
    "load": partial(load, dataset=DATASET),
    "commit": partial(commit, dataset=DATASET),
}


def run(batch: Batch) -> dict[str, float]:
    """Run the tasks as their processes do; return their seconds. Raises RuntimeError if a batch is rejected."""
    seconds = {}
    for name, task in TASKS.items():
        began = time.perf_counter()
        with connected(name) as connection:
            result = task(connection, batch)
        if result.outcome not in ("accepted", "loaded", "committed"):
            raise RuntimeError(f"{name} of {batch.batch_id}: {result.outcome} {result.message}")
        write_result(result, BUCKET)
        seconds[name] = time.perf_counter() - began
    return seconds


def batch_of(sent: dict[str, str]) -> Batch:
    """Return a batch as the tasks receive it."""
    return Batch(sent["batch_id"], BUCKET, sent["key"], sent["version"])


def main(arguments: list[str]) -> None:
    """Run the batches given as JSON, and print the figures of the last."""
    seconds: dict[str, float] = {}
    for text in arguments:
        seconds = run(batch_of(json.loads(text)))
    print(json.dumps(seconds))  # noqa: T201 the result


if __name__ == "__main__":
    main(sys.argv[1:])
