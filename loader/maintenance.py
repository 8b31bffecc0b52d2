"""The tasks that belong to no batch: reference data, the ledger's listing, migrations."""

import io
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from database import reference
from database.connect import NoDatabaseError, database_url
from loader import objects
from loader.errors import UsageError
from loader.results import Result
from loader.session import open_session

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

_LEDGER = """
SELECT coalesce(json_agg(entry), '[]') FROM (
    SELECT * FROM batches WHERE %(state)s IN ('all', state) ORDER BY batch_no DESC LIMIT %(limit)s
) AS entry
"""


def load_reference(connection: "Connection", run: str, bucket: str, ports: str, regions: str) -> Result:
    """Add and update ports and regions from two CSV objects, named by their keys.

    A file that breaks the rules is an answer, `rejected`, with the line and the reason; nothing changes then.
    """
    try:
        change = reference.load(connection, reference.read_reference(_text(bucket, ports), _text(bucket, regions)))
    except reference.ReferenceDataError as error:
        return Result("reference", run, "rejected", message=str(error))
    data = _answer("reference", run, bucket, asdict(change))
    words = f"{change.added} added, {change.changed} changed, {change.kept} not in the files and kept"
    return Result("reference", run, "done", rows=change.ports + change.regions, message=words, data=data)


def list_ledger(connection: "Connection", run: str, bucket: str, limit: int, state: str) -> Result:
    """Store the newest rows of the ledger, all or those in one state."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_LEDGER, {"limit": limit, "state": state})
        row = cursor.fetchone()
        assert row is not None
    return Result("ledger", run, "done", rows=len(row[0]), data=_answer("ledger", run, bucket, row[0]))


def migrate(run: str, work: str = "") -> Result:
    """Bring the schema up to date. Raises UsageError when the database, or the secret of a user, is not named well."""
    from database.migrate import migrate as upgrade  # Alembic is slow to import, and only this task needs it

    try:
        url = database_url()
        before, after = upgrade(url, lambda: open_session(url, "migrate", work))
    except NoDatabaseError as error:
        raise UsageError(str(error)) from None
    words = f"up to date at {after}" if before == after else f"migrated from {before or 'nothing'} to {after}"
    return Result("migrate", run, "done", message=words)


def _text(bucket: str, key: str) -> io.StringIO:
    try:
        data = objects.get(bucket, key)
    except KeyError as error:
        raise UsageError(f"there is no object {error}") from None
    try:
        return io.StringIO(data.decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        raise reference.ReferenceDataError(f"{key} is not UTF-8: {error}") from None


def _answer(task: str, run: str, bucket: str, answer: Any) -> str:
    key = f"results/{run}/{task}.data.json"
    objects.put_json(bucket, key, answer)
    return key
