"""Runs a file of SQL as it stands."""

from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection


def run_script(connection: Connection, path: Path) -> None:
    """Send the statements of `path` in the connection's transaction; a percent sign means itself."""
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(path.read_text(encoding="utf-8"))
