"""Ledger: list batches, newest first."""

from typing import TYPE_CHECKING

from ratesflow.loader.batches.results import Result, store_data
from ratesflow.loader.runtime.session import run_statement
from ratesflow.loader.tasks.registry import Limits, Task

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

_LEDGER = """
SELECT coalesce(json_agg(entry), '[]') FROM (
    SELECT * FROM batches
    WHERE %(state)s IN ('all', state)
      AND (%(batch)s IN ('all', batch_id) OR starts_with(batch_id, %(batch)s || '-r'))
    ORDER BY batch_no DESC LIMIT %(limit)s
) AS entry
"""


def list_ledger(
    connection: "Connection", run_id: str, bucket: str, limit: int = 100, state: str = "all", batch: str = "all"
) -> Result:
    """Store the newest rows of the ledger: of all batches, of those in one state, or of one batch and its reruns."""
    ((batches,),) = run_statement(connection, _LEDGER, {"limit": limit, "state": state, "batch": batch})
    return Result("ledger", run_id, "done", rows=len(batches), data=store_data("ledger", run_id, bucket, batches))


TASK = Task(
    function=list_ledger,
    help="list batches, newest first",
    arguments={
        "limit": "maximum number of batches",
        "state": "only batches in this state, or `all`",
        "batch": "only this batch and its reruns, or `all`",
    },
    outcomes=("done",),
    limits=Limits(silence=180, statement=150),
    run_seconds=300,
)
