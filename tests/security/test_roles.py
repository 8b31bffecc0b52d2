"""Statements that the reader and the loader may not execute: the database denies each of them."""

import psycopg2
import pytest
from psycopg2 import DatabaseError, errors

from ratesflow.local.postgres.rds_master import MASTER
from tests.fix_database import Database

DENIED = (errors.InsufficientPrivilege, errors.WrongObjectType, errors.InvalidGrantOperation)

# Only the owner may execute these.
BOTH = [
    "DROP SCHEMA public CASCADE",
    "DROP TABLE rates",
    "DROP TABLE prices",
    "DROP FUNCTION drop_batch",
    "DROP VIEW committed_prices",
    "ALTER TABLE batches DROP CONSTRAINT batches_state_check",
    "ALTER TABLE rates OWNER TO CURRENT_USER",
    "TRUNCATE rates",
    "TRUNCATE batches CASCADE",
    "CREATE TABLE mine (x integer)",
    "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "CREATE ROLE mine",
    "ALTER ROLE postgres PASSWORD 'mine'",
    f"ALTER ROLE {MASTER} PASSWORD 'mine'",
    f"SET ROLE {MASTER}",
    "GRANT ratesflow_owner TO CURRENT_USER",
    "SET ROLE ratesflow_owner",
    "SET SESSION AUTHORIZATION postgres",
    "COPY prices TO PROGRAM 'cat > /tmp/mine'",
    "COPY prices TO '/tmp/mine'",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT pg_ls_dir('.')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT * FROM pg_authid",
    "SELECT pg_reload_conf()",
    "LOCK TABLE prices IN ACCESS EXCLUSIVE MODE",
    "DELETE FROM batches",
    "DELETE FROM shards",
    "DELETE FROM ports",
    "DELETE FROM data_version",
    "INSERT INTO data_version (version) VALUES (9)",
    "UPDATE prices SET price = 1",
    "DELETE FROM prices",
    "UPDATE rates SET sums = '{}'",
]
READER = [
    "SELECT FROM prices",
    "SELECT FROM batches",
    "SELECT FROM shards",
    "SELECT FROM committed_prices",
    "SELECT FROM reference_version",
    "INSERT INTO rates (batch_no) VALUES (1)",
    "DELETE FROM rates",
    "INSERT INTO visible_batches VALUES (9)",
    "DELETE FROM visible_batches",
    "UPDATE data_version SET version = 0",
    "UPDATE ports SET name = 'x'",
    "INSERT INTO batches (batch_id, bucket, key, version) VALUES ('x', 'x', 'x', 'x')",
    "SELECT stage_batch(1)",
    "SELECT attach_batch(1)",
    "SELECT drop_batch(1)",
    "SELECT merge_prices(1, 2)",
    "SELECT FROM rates FOR UPDATE",
]
LOADER = [
    "INSERT INTO prices (batch_no, day, price, orig_code, dest_code) VALUES (1, now(), 1, 'A', 'B')",
    "DELETE FROM reference_version",
    "DROP TABLE batches",
    "ALTER TABLE prices DETACH PARTITION staging_1",
    "DROP TABLE staging_1",
    "DELETE FROM staging_1",
    "UPDATE staging_1 SET price = 1",
    "TRUNCATE staging_1",
    "DROP TABLE staging_2",
    "DELETE FROM staging_2",
]


@pytest.fixture
def staged(database: Database) -> Database:
    """A database with a committed batch 1 and an open batch 2, each with its table of prices."""
    for number in (1, 2):
        database.query(f"INSERT INTO batches (batch_id, bucket, key, version) VALUES ('b{number}', 'b', 'k', 'v')")
        loader = database.connect(database.loader_url)
        with loader, loader.cursor() as cursor:
            cursor.execute("SELECT stage_batch(%s)", (number,))
            row = "(batch_no, day, price, orig_code, dest_code) VALUES (%s, '2021-01-01', 5, 'CNSHA', 'NLRTM')"
            cursor.execute(f"INSERT INTO staging_{number} {row}", (number,))
            cursor.execute("SELECT attach_batch(%s)", (number,))
        loader.close()
    database.query("UPDATE batches SET state = 'committed' WHERE batch_no = 1")
    return database


def allowed_statements(url: str, statements: list[str]) -> list[str]:
    """Execute statements, each in a transaction that is rolled back; return those that were not denied."""
    passed = []
    connection = psycopg2.connect(url)
    for statement in statements:
        with connection.cursor() as cursor:
            try:
                cursor.execute(statement)
                passed.append(statement)
            except DENIED:
                pass
        connection.rollback()
    connection.close()
    return passed


def test_reader_can_only_read_what_responses_need(staged: Database) -> None:
    """The API's user cannot change tables or definitions, or read prices and ledger."""
    before = staged.snapshot()
    assert allowed_statements(staged.reader_url, BOTH + READER) == []
    assert staged.snapshot() == before


def test_loader_can_write_rows_but_no_definitions(staged: Database) -> None:
    """The loader's user cannot drop or redefine anything, or delete ledger rows."""
    before = staged.snapshot()
    assert allowed_statements(staged.loader_url, BOTH + LOADER) == []
    assert staged.snapshot() == before


def test_security_definer_functions_use_the_real_ledger(staged: Database) -> None:
    """A temporary table with the ledger's name and a changed search path do not affect these functions."""
    loader = staged.connect(staged.loader_url)
    loader.autocommit = True
    with loader.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE batches AS SELECT 1::bigint AS batch_no, 'failed' AS state")
        cursor.execute("CREATE TEMP TABLE prices (batch_no bigint)")
        cursor.execute("SET search_path = pg_temp, public")
        with pytest.raises(DatabaseError, match=r"is (not )?open"):
            cursor.execute("SELECT public.drop_batch(1)")
        with pytest.raises(DatabaseError, match=r"is (not )?open"):
            cursor.execute("SELECT public.stage_batch(1)")
        with pytest.raises(DatabaseError, match=r"is (not )?open"):
            cursor.execute("SELECT public.merge_prices(1, 2)")
    loader.close()
    assert staged.one("SELECT count(*) FROM prices") == 2


@pytest.mark.parametrize("function", ["stage_batch", "attach_batch", "drop_batch"])
def test_functions_accept_only_numbers(staged: Database, function: str) -> None:
    """The functions build table names from numbers only, for every caller."""
    loader = staged.connect(staged.loader_url)
    with loader.cursor() as cursor, pytest.raises(errors.InvalidTextRepresentation):
        cursor.execute(f"SELECT {function}(%s)", ("1; DROP TABLE rates",))
    loader.close()


def test_users_cannot_create_in_the_schema(database: Database) -> None:
    """Only the owners of schema and database can create in `public`, also on PostgreSQL 16."""
    query = "SELECT rolname FROM pg_roles WHERE has_schema_privilege(rolname, 'public', 'CREATE') AND NOT rolsuper"
    found = {name for (name,) in database.query(query)} - {"ratesflow_owner", "pg_database_owner", MASTER}
    assert found == set()
