"""Limits that small files exceed: a file of a few lines has several parts, and three tables are merged.

Digests depend on the part size, so all processes of a deployment need the same limits.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[3]

# A line has about 30 bytes.
PART, BLOCK = 256, 64
# Tables of prices that may remain, and their minimum age for a merge.
TABLES, MINUTES = 2, 0.0
# A campaign's files are larger, and a task may be suspended between taking its number and committing it.
CAMPAIGN_PART, CAMPAIGN_MINUTES = 2048, 0.5

Set = Callable[[object, str, object], None]


def shrink_modules(set_: Set = setattr) -> None:
    """Lower the limits of this process, also if the loader is already imported; `set_` may restore them later."""
    from ratesflow.loader.batches import byte_ranges, digest, s3
    from ratesflow.loader.files import read_shard
    from ratesflow.loader.tasks import compact, copy_rows, merge_partitions

    for module in (s3, copy_rows):
        set_(module, "PART_BYTES", PART)
    for module in (s3, read_shard):
        set_(module, "BLOCK_BYTES", BLOCK)
    set_(byte_ranges.shard_range, "__defaults__", (PART,))
    set_(digest.PartDigests.__init__, "__defaults__", (PART,))
    set_(compact, "merges", partial(merge_partitions.merges, most=TABLES, minutes=MINUTES))
    set_(compact, "REST", 0.0)


def shrink_process() -> None:
    """Lower the limits of a task's process, before it imports anything else."""
    from ratesflow.loader.batches import batch

    batch.PART_BYTES = CAMPAIGN_PART
    if "compact" in sys.orig_argv:
        from ratesflow.loader.tasks import merge_partitions

        merge_partitions.merges.__defaults__ = (TABLES, merge_partitions.MAX_ROWS, CAMPAIGN_MINUTES)


@contextmanager
def low_limits() -> Iterator[None]:
    """Apply low limits to all tasks of a stack that is started in this block."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{Path(__file__).parents[1] / 'every_process'}:{ROOT}"
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before
