"""Migrate: bring the schema up to date."""

import psycopg2

from ratesflow.database.connect import NoDatabaseError, database_url
from ratesflow.loader.batches.results import Result
from ratesflow.loader.runtime.connection import task_error
from ratesflow.loader.runtime.errors import TaskError, UsageError
from ratesflow.loader.runtime.session import open_session
from ratesflow.loader.tasks.registry import Limits, Task


def migrate(run_id: str, work: str = "") -> Result:
    """Bring the schema up to date. `work` is the argument of `open_session`.

    Raises UsageError when the database or the secret of a user is not set or cannot be read, and TaskError for a
    database that cannot be migrated.
    """
    # Alembic is slow to import, and only this task needs it.
    from sqlalchemy.exc import DBAPIError

    from ratesflow.database.migrate import SchemaMismatchError
    from ratesflow.database.migrate import migrate as upgrade

    try:
        url = database_url()
        before, after = upgrade(url, lambda: open_session(url, "migrate", work))
    except NoDatabaseError as error:
        raise UsageError(str(error)) from None
    except SchemaMismatchError as error:
        raise TaskError(f"{error}; its data must be loaded into a new database") from None
    except DBAPIError as error:
        raise (task_error(error.orig) if isinstance(error.orig, psycopg2.Error) else TaskError(str(error))) from error
    except psycopg2.Error as error:
        raise task_error(error) from error
    message = f"up to date at {after}" if before == after else f"migrated from {before or 'nothing'} to {after}"
    return Result("migrate", run_id, "done", message=message)


TASK = Task(
    function=migrate,
    help="bring the schema up to date",
    outcomes=("done",),
    limits=Limits(silence=300, statement=2400),
    login="owner",
)
