"""Migrations wait for running loads without blocking others, and report missing rights of another user."""

import re
import shutil
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from psycopg2.errors import InsufficientPrivilege
from sqlalchemy import make_url

from ratesflow.database.migrate import HERE, SchemaMismatchError, migrate
from ratesflow.loader.runtime.errors import TaskError
from ratesflow.loader.tasks import migrate as task
from tests.fix_database import PASSWORD, Database, drop_database, run_alone

SECOND = """
from alembic import op

revision, down_revision = "0002", "0001"


def upgrade():
    op.execute("ALTER TABLE batches ADD COLUMN remark text")
"""
INSERT = "INSERT INTO batches (batch_id, bucket, key, version) VALUES (%s, 'b', 'k', 'v')"


def test_other_transactions_continue_while_a_migration_waits(database: Database, tmp_path: Path) -> None:
    """While a load locks the ledger, a migration of it waits, and each commit takes less than three seconds."""
    shutil.copytree(HERE / "migrations", tmp_path / "migrations")
    (tmp_path / "migrations" / "versions" / "0002_second.py").write_text(SECOND)
    done = []
    with closing(database.connect(database.loader_url)) as loading, loading.cursor() as cursor:
        cursor.execute("INSERT INTO batches (batch_id, bucket, key, version) VALUES ('a', 'b', 'k', 'v')")
        loading.commit()
        cursor.execute("SELECT FROM batches WHERE batch_id = 'a' FOR SHARE")
        thread = threading.Thread(
            target=lambda: done.append(migrate(database.url, migrations=tmp_path / "migrations")), daemon=True
        )
        thread.start()
        longest, began = 0.0, time.monotonic()
        while time.monotonic() - began < 6:
            at = time.monotonic()
            database.query("UPDATE reference_version SET changed_at = now()")
            database.query(f"SET LOCAL lock_timeout = '4s'; {INSERT}", str(at))
            longest = max(longest, time.monotonic() - at)
        assert longest < 3
        assert longest > 0.5, "the migration never requested its lock: this test proves nothing"
        assert done == []
        loading.commit()
    thread.join(30)
    assert done == [("0001", "0002")]
    assert database.query("SELECT remark FROM batches WHERE batch_id = 'a'") == [(None,)]


def test_another_user_needs_the_rights_to_migrate(database: Database) -> None:
    """For a user that did not create the roles or does not own the database, the error has a remedy."""
    empty = f"empty_{database.name}"
    run_alone(database.server.url(), f"CREATE DATABASE {empty}")
    database.query(f"CREATE ROLE another LOGIN CREATEROLE PASSWORD '{PASSWORD}'")
    try:
        with pytest.raises(InsufficientPrivilege, match=r"did not make the role ratesflow_owner.*WITH ADMIN OPTION"):
            migrate(another(database.url))
        database.query("GRANT ratesflow_owner, ratesflow_loader, ratesflow_reader TO another WITH ADMIN OPTION")
        assert migrate(another(database.url)) == ("0001", "0001")
        with pytest.raises(InsufficientPrivilege, match=f"another owns neither the database {empty}.*ALTER DATABASE"):
            migrate(another(database.server.url(database=empty)))
        database.query("GRANT another TO CURRENT_USER")
        run_alone(database.server.url(), f"ALTER DATABASE {empty} OWNER TO another")
        assert migrate(another(database.server.url(database=empty))) == (None, "0001")
    finally:
        drop_database(database.server, empty)
        database.query("DROP ROLE another")


def test_a_database_of_an_older_schema_is_named(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database whose revision lacks tables or columns is an error at once, which names them, of the task, too."""
    database.query("ALTER TABLE visible_batches RENAME TO open_batches")
    database.query("ALTER TABLE batches DROP COLUMN same_prices_as CASCADE")
    began = time.monotonic()
    message = "at revision 0001 but lacks batches.same_prices_as, visible_batches.batch_no"
    with pytest.raises(SchemaMismatchError, match=f"{re.escape(message)}.*an older version of ratesflow made it"):
        migrate(database.url)
    assert time.monotonic() - began < 10
    monkeypatch.setenv("DATABASE_URL", database.url)
    with pytest.raises(TaskError, match="its data must be loaded into a new database") as failure:
        task.migrate("run")
    assert failure.value.exit_code == 70


def another(url: str) -> str:
    """Return the URL for another user."""
    return make_url(url).set(username="another").render_as_string(hide_password=False)
