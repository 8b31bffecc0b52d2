"""Runs single statements, each on its own connection."""

from contextlib import closing
from typing import Any

import psycopg2


def query(url: str, statement: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
    """Run a statement in its own transaction and return its rows."""
    with closing(psycopg2.connect(url, connect_timeout=5)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def execute_autocommit(url: str, statement: str) -> None:
    """Run a statement outside a transaction, also when new sessions are read-only by default."""
    writing = "-c default_transaction_read_only=off"
    with closing(psycopg2.connect(url, connect_timeout=5, options=writing)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
