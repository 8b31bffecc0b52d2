"""The service can read only what its responses need."""

import psycopg2
import pytest
from psycopg2 import errors
from psycopg2.extensions import connection as Connection  # noqa: N812

from ratesflow.api.models.errors import DatabaseUnavailableError
from ratesflow.api.postgres import queries
from ratesflow.api.postgres.pool import ConnectionPool


@pytest.mark.parametrize("table", ["prices", "batches", "shards", "committed_prices", "daily_rates"])
def test_prices_and_ledger_are_unreadable(reader_url: str, owner: Connection, table: str) -> None:
    """The service's user can read neither prices nor the ledger."""
    connections = ConnectionPool(reader_url, queries.session(2))
    with pytest.raises(errors.InsufficientPrivilege):
        connections.fetch(f"SELECT FROM {table}", seconds=2)
    connections.close()


@pytest.mark.parametrize(
    "statement",
    ["UPDATE data_version SET version = 0", "DELETE FROM rates", "INSERT INTO visible_batches VALUES (9)"],
)
def test_user_cannot_write(reader_url: str, statement: str) -> None:
    """The service's user cannot change anything, even in a session that is not read-only."""
    connection = psycopg2.connect(reader_url)
    with pytest.raises(errors.InsufficientPrivilege), connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


def test_sessions_are_read_only(owner_url: str) -> None:
    """The service's sessions are read-only even for a user who may write."""
    connections = ConnectionPool(owner_url, queries.session(2))
    with pytest.raises(DatabaseUnavailableError, match="read-only"):
        connections.fetch("UPDATE data_version SET version = 0", seconds=2)
    connections.close()
