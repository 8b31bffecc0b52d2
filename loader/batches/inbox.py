"""Which objects in the inbox are batches: gc must not start files that the trigger ignores.

workflow/trigger.py has the same rule, since neither may import the other; a test compares the two.
"""

import fnmatch
import os

PREFIX = "incoming/"
IGNORED_FILES = "RATESFLOW_IGNORED_FILES"


def is_batch(key: str) -> bool:
    """Return whether an object is a batch: not a folder, and not ignored by the patterns in RATESFLOW_IGNORED_FILES."""
    patterns = [pattern.strip().lower() for pattern in os.environ.get(IGNORED_FILES, "").split(",") if pattern.strip()]
    ignored = any(fnmatch.fnmatchcase(part, pattern) for part in key.lower().split("/") for pattern in patterns)
    return not ignored and not key.endswith("/")
