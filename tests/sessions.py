"""Sessions for the queries of tests: one login for many, since a login costs more than most queries."""

from collections import defaultdict
from typing import Any

import psycopg2


class Sessions:
    """Sessions by URL that no thread uses now. Nothing runs in them, and they hold no lock."""

    def __init__(self) -> None:
        self._idle: dict[str, list[Any]] = defaultdict(list)

    def query(self, url: str, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Run a statement in a transaction of its own; return its rows."""
        while idle := self._idle[url]:
            connection = idle.pop()
            try:
                return self._run(url, connection, statement, values)
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                if not connection.closed:
                    raise
                # It was ended, with its server or alone, since its last query.
        return self._run(url, psycopg2.connect(url), statement, values)

    def _run(self, url: str, connection: Any, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            if not connection.closed:
                self._idle[url].append(connection)
