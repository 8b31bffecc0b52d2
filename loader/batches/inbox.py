"""Which objects of the inbox are batches: what the trigger passes over, gc must not take for lost.

workflow/trigger.py has the same rule: neither may import the other. A test holds them together.
"""

import fnmatch
import os

PREFIX = "incoming/"
SIDE_FILES = "RATESFLOW_SIDE_FILES"


def is_batch(key: str) -> bool:
    """Tell whether an object is no folder and no side file, by the patterns that the environment names."""
    wanted = [pattern.strip().lower() for pattern in os.environ.get(SIDE_FILES, "").split(",") if pattern.strip()]
    side = any(fnmatch.fnmatchcase(part, pattern) for part in key.lower().split("/") for pattern in wanted)
    return not side and not key.endswith("/")
