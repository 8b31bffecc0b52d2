"""The schema: migrations and table definitions agree, and each role has only the rights that it needs."""

import psycopg2
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, make_url

from ratesflow.database.migrate import current_revision, migrate
from ratesflow.database.tables import metadata
from tests.fix_database import Database, drop_database, run_alone

CATALOG = """
SELECT 'column' AS kind, table_name::text, column_name::text AS name,
       concat_ws(' ', ordinal_position, data_type, collation_name, is_nullable, column_default,
                 identity_generation) AS what
FROM information_schema.columns WHERE table_schema = 'public' AND table_name = ANY (%(tables)s)
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text = ANY (%(tables)s)
UNION ALL
SELECT 'index', tablename::text, indexname::text, indexdef
FROM pg_indexes WHERE schemaname = 'public' AND tablename = ANY (%(tables)s)
UNION ALL
SELECT 'table', relname::text, relkind::text, concat_ws(' ', pg_get_partkeydef(oid), reloptions::text)
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY (%(tables)s)
UNION ALL
SELECT 'comment', objoid::regclass::text, objsubid::text, description
FROM pg_description WHERE classoid = 'pg_class'::regclass AND objoid::regclass::text = ANY (%(tables)s)
ORDER BY 1, 2, 3
"""


def _engine(url: str):
    return create_engine(make_url(url).set(drivername="postgresql+psycopg2"))


def _catalog(url: str) -> list[tuple[str, ...]]:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(CATALOG, {"tables": list(metadata.tables)})
        rows = cursor.fetchall()
    connection.close()
    return rows


def test_migrations_and_tables_are_equal(database: Database) -> None:
    """Migrations and table definitions create the same columns, constraints, indexes and comments."""
    name = f"from_tables_{database.name}"
    run_alone(database.server.url(), f"CREATE DATABASE {name}")
    url = database.server.url(database=name)
    try:
        engine = _engine(url)
        metadata.create_all(engine)
        engine.dispose()
        assert _catalog(database.url) == _catalog(url)
    finally:
        drop_database(database.server, name)


def test_alembic_finds_nothing_to_migrate(database: Database) -> None:
    """Alembic finds no difference between the database and the table definitions."""
    engine = _engine(database.url)
    with engine.connect() as connection:
        assert current_revision(connection) is not None
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_migrating_again_changes_nothing(database: Database) -> None:
    """A second migration leaves the newest revision unchanged."""
    before, after = migrate(database.url)
    assert before == after is not None


FORBIDDEN_TO_READER = [
    "SELECT * FROM prices",
    "SELECT * FROM batches",
    "SELECT * FROM committed_prices",
    "INSERT INTO rates VALUES (1, '2021-01-01', 'CNSHA', 'NLRTM', '{1}', '{1}')",
    "UPDATE data_version SET version = 0",
    "DELETE FROM visible_batches",
    "CREATE TABLE mine (a integer)",
    "SELECT stage_batch(1)",
]


@pytest.mark.parametrize("statement", FORBIDDEN_TO_READER)
def test_reader_can_only_read(database: Database, statement: str) -> None:
    """The API's role can only read what responses need."""
    connection = database.connect(database.reader_url)
    with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute(statement)
    connection.close()


def test_reader_can_read_what_responses_need(database: Database) -> None:
    """The API's role can read rates, visible batches, ports, regions and the data version."""
    connection = database.connect(database.reader_url)
    with connection.cursor() as cursor:
        for table in ("rates", "visible_batches", "ports", "regions", "port_regions", "data_version"):
            cursor.execute(f"SELECT * FROM {table}")
    connection.close()


FORBIDDEN_TO_LOADER = [
    "DROP TABLE prices",
    "ALTER TABLE rates ADD COLUMN mine integer",
    "CREATE TABLE mine (a integer)",
    "TRUNCATE rates",
    "DELETE FROM batches",
    "DELETE FROM ports",
    "INSERT INTO prices VALUES (1, '2021-01-01', 1, 'CNSHA', 'NLRTM')",
]


@pytest.mark.parametrize("statement", FORBIDDEN_TO_LOADER)
def test_loader_cannot_change_definitions_or_delete_history(database: Database, statement: str) -> None:
    """The loader's role cannot change definitions, or delete ports or ledger rows."""
    connection = database.connect(database.loader_url)
    with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute(statement)
    connection.close()


def _open_batch(database: Database, state: str = "open") -> int:
    return database.one(
        "INSERT INTO batches (batch_id, bucket, key, version, state)"
        " VALUES (gen_random_uuid()::text, 'b', 'k', 'v', %s) RETURNING batch_no",
        state,
    )


@pytest.mark.parametrize("state", ["committed", "rejected", "failed"])
def test_only_open_batches_can_be_staged(database: Database, state: str) -> None:
    """The loader cannot create a staging table for a closed batch."""
    number = _open_batch(database, state)
    with pytest.raises(psycopg2.DatabaseError):
        database.query("SELECT stage_batch(%s)", number)


@pytest.mark.parametrize("state", ["committed", "open"])
def test_prices_of_open_and_committed_batches_cannot_be_dropped(database: Database, state: str) -> None:
    """The loader cannot drop the table of an open or committed batch."""
    number = _open_batch(database)
    database.query("SELECT stage_batch(%s)", number)
    database.query("SELECT attach_batch(%s)", number)
    database.query("UPDATE batches SET state = %s WHERE batch_no = %s", state, number)
    with pytest.raises(psycopg2.DatabaseError):
        database.query("SELECT drop_batch(%s)", number)
    assert database.one("SELECT to_regclass(%s)::text", f"staging_{number}") == f"staging_{number}"


def test_staging_functions_are_idempotent(database: Database) -> None:
    """Each of the loader's three functions does nothing the second time."""
    number = _open_batch(database)
    for function in ("stage_batch", "attach_batch"):
        for _ in range(2):
            database.query(f"SELECT {function}(%s)", number)
    database.query("UPDATE batches SET state = 'failed' WHERE batch_no = %s", number)
    for _ in range(2):
        database.query("SELECT drop_batch(%s)", number)
    assert database.one("SELECT count(*) FROM pg_inherits WHERE inhparent = 'prices'::regclass") == 0
