"""The outcome of a batch in the ledger, stored where the command line and the console read it without the database.

A stopped, timed-out or failed execution has no outcome of its batch, and no execution has that of an undo. For these,
gc and undo store a document in the bucket: `results/outcomes/BATCH.json`, with the schema of a notification
(`docs/schemas/notification.json`). It overrides what the execution has; workflow/client/ledger_outcomes.py reads it.
It expires with the execution, like all results.
"""

from typing import TYPE_CHECKING

from ratesflow.loader.batches import notification, s3
from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.batches.ledger import OPEN
from ratesflow.loader.batches.results import Result

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

PREFIX = "results/outcomes/"

_ROW = """
SELECT state, seconds, batch_id, bucket, key, version, coalesce(execution_arn, ''),
       rows, rejected_rows, report, coalesce(message, '')
FROM batches WHERE batch_id = %s FOR SHARE
"""


def keep(connection: "Connection", bucket: str, batch_id: str) -> None:
    """Store the current outcome of a batch, unless it is open or unknown. Raises what `s3.put` raises."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_ROW, (batch_id,))
        row = cursor.fetchone()
        if row is None or row[0] == OPEN:
            return
        state, seconds, *rest = row
        batch = Batch(*rest[:5])
        document = notification.of(batch, Result("gc", batch_id, state, *rest[5:]), seconds)
        # Under the lock of the row, so that the outcome of an undo cannot be stored before the one that it undoes.
        s3.put_json(bucket, f"{PREFIX}{batch_id}.json", document)
