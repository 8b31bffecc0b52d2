"""The exit codes of `ingest` and `validate`, by outcome, and which one wins when there are several files."""

from collections.abc import Iterable

from ratesflow.workflow.cli.context import COMMITTED, DUPLICATE, FAILED, REJECTED, UNFINISHED

EXIT_CODES = {"committed": COMMITTED, "rejected": REJECTED, "duplicate": DUPLICATE, "running": UNFINISHED}
WORST_FIRST = (FAILED, REJECTED, UNFINISHED, DUPLICATE, COMMITTED)


def worst(codes: Iterable[int]) -> int:
    """Return the worst of several exit codes; one that is not in the list is worse than all that are."""
    return min(codes, key=lambda code: WORST_FIRST.index(code) if code in WORST_FIRST else -1)
