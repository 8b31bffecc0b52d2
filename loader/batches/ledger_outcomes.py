"""Copies of outcomes from the ledger, in the bucket: commands and the console read them without the database.

A stopped, timed-out or failed execution has no outcome, and no execution has the outcome of an undo. For these, gc and
undo store `results/outcomes/BATCH.json`, with the schema of a notification (`docs/schemas/notification.json`). It
overrides the execution's outcome; workflow/client/ledger_outcomes.py reads it. It expires like all results.
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
    """Store the current outcome of a batch, unless it is open or not in the ledger. Raises what `s3.put` raises."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_ROW, (batch_id,))
        row = cursor.fetchone()
        # While the row is locked, so that an earlier outcome cannot overwrite that of an undo.
        if row and (outcome := notification(row))["outcome"] != OPEN:
            s3.put_json(bucket, f"{PREFIX}{batch_id}.json", outcome)
