"""What the ledger says of a batch, kept where the command line and the console can read it without the database.

An execution that was stopped, ran out of time or failed knows nothing of its batch's outcome, and none knows of an
undo. For these, gc and undo keep a document in the bucket: `results/outcomes/BATCH.json`, of the schema of a
notification (`docs/schemas/notification.json`). It stands above what the execution says;
workflow/client/ledger_outcomes.py reads it. It goes when the execution is forgotten, as all results do.
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
    """Store what the ledger says of a batch now, unless it is open or unknown. Raises as `objects.put` does."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_ROW, (batch_id,))
        row = cursor.fetchone()
        if row is None or row[0] == OPEN:
            return
        state, seconds, *rest = row
        batch = Batch(*rest[:5])
        document = notification.of(batch, Result("gc", batch_id, state, *rest[5:]), seconds)
        # Under the lock of the row, so that an undo cannot be told of before what it undoes.
        s3.put_json(bucket, f"{PREFIX}{batch_id}.json", document)
