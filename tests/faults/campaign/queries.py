"""Asks a database once, over a connection of its own."""

from contextlib import closing
from typing import Any

import psycopg2


def asked(url: str, query: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
    """Run a statement in a transaction of its own, and return its rows."""
    with closing(psycopg2.connect(url, connect_timeout=5)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchall() if cursor.description else []


def alone(url: str, statement: str) -> None:
    """Run a statement outside any transaction, also where the server would let new sessions only read."""
    writing = "-c default_transaction_read_only=off"
    with closing(psycopg2.connect(url, connect_timeout=5, options=writing)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
