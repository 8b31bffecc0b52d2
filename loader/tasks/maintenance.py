"""The tasks that belong to no batch: reference data, the ledger's listing, migrations."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TextIO

import psycopg2

from ratesflow.database import reference, reference_change
from ratesflow.database.connect import NoDatabaseError, database_url
from ratesflow.loader.batches import s3
from ratesflow.loader.batches.results import Result
from ratesflow.loader.runtime.connection import explained
from ratesflow.loader.runtime.errors import TaskError, UsageError
from ratesflow.loader.runtime.session import open_session

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


def load_reference(connection: "Connection", run: str, bucket: str, ports: str, regions: str) -> Result:
    """Add and update ports and regions from two CSV objects, named by their keys.

    A file that breaks the rules is an answer, `rejected`, with the line and the reason; nothing changes then.
    """
    try:
        change = reference_change.load(
            connection, reference.read_reference(_text(bucket, ports, "ports"), _text(bucket, regions, "regions"))
        )
    except reference.ReferenceDataError as error:
        return Result("reference", run, "rejected", message=str(error))
    data = _answer("reference", run, bucket, asdict(change))
    words = f"{change.added} added, {change.changed} changed, {change.kept} not in the files and kept"
    return Result("reference", run, "done", rows=change.ports + change.regions, message=words, data=data)


def list_ledger(connection: "Connection", run: str, bucket: str, limit: int, state: str, batch: str = "all") -> Result:
    """Store the newest rows of the ledger: all, those in one state, or those of one batch and its redos."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_LEDGER, {"limit": limit, "state": state, "batch": batch})
        row = cursor.fetchone()
        assert row is not None
    return Result("ledger", run, "done", rows=len(row[0]), data=_answer("ledger", run, bucket, row[0]))


def migrate(run: str, work: str = "") -> Result:
    """Bring the schema up to date. Raises UsageError when the database, or the secret of a user, is not named well."""
    # Alembic is slow to import, and only this task needs it.
    from sqlalchemy.exc import DBAPIError

    from ratesflow.database.migrate import migrate as upgrade

    try:
        url = database_url()
        before, after = upgrade(url, lambda: open_session(url, "migrate", work))
    except NoDatabaseError as error:
        raise UsageError(str(error)) from None
    except DBAPIError as error:
        raise (explained(error.orig) if isinstance(error.orig, psycopg2.Error) else TaskError(str(error))) from error
    except psycopg2.Error as error:
        raise explained(error) from error
    words = f"up to date at {after}" if before == after else f"migrated from {before or 'nothing'} to {after}"
    return Result("migrate", run, "done", message=words)


def _text(bucket: str, key: str, what: str) -> TextIO:
    try:
        return reference.decoded(s3.get(bucket, key), what)
    except KeyError as error:
        raise UsageError(f"there is no object {error}") from None


def _answer(task: str, run: str, bucket: str, answer: Any) -> str:
    key = f"results/{run}/{task}.data.json"
    s3.put_json(bucket, key, answer)
    return key
