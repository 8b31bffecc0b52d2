"""Run a file of SQL unchanged."""

from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection


def run_script(connection: Connection, path: Path) -> None:
    """Run the statements of `path` in the connection's transaction; percent signs are literal."""
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(path.read_text(encoding="utf-8"))
