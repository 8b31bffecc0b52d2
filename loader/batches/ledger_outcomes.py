"""The outcome of a batch in the ledger, stored where the command line and the console read it without the database.

A stopped, timed-out or failed execution has no outcome of its batch, and no execution has that of an undo. For these,
gc and undo store a document in the bucket: `results/outcomes/BATCH.json`, with the schema of a notification
(`docs/schemas/notification.json`). It overrides what the execution has; workflow/client/ledger_outcomes.py reads it.
It expires with the execution, like all results.
"""

from typing import TYPE_CHECKING

from ratesflow.loader.batches import s3
from ratesflow.loader.batches.ledger import OPEN
from ratesflow.loader.batches.notification import NOTIFICATION_COLUMNS, notification

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

PREFIX = "results/outcomes/"

_ROW = f"SELECT {NOTIFICATION_COLUMNS} FROM batches WHERE batch_id = %s FOR SHARE"  # noqa: S608


def keep(connection: "Connection", bucket: str, batch_id: str) -> None:
    """Store the current outcome of a batch, unless it is open or unknown. Raises what `s3.put` raises."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_ROW, (batch_id,))
        row = cursor.fetchone()
        # Under the lock of the row, so that the outcome of an undo cannot be stored before the one that it undoes.
        if row and (outcome := notification(row))["outcome"] != OPEN:
            s3.put_json(bucket, f"{PREFIX}{batch_id}.json", outcome)
