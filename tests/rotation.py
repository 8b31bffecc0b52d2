"""What the rotation of a login by alternating users does in the database, logged in as the master.

Each statement is one of AWS's function for it, SecretsManagerRDSPostgreSQLRotationMultiUser (its set_secret).
"""

from contextlib import closing

import psycopg2
from psycopg2 import sql

_SUFFIX = "_clone"


def rotate(master_url: str, current: str, password: str) -> str:
    """Give the other of two users a new password, making it at the first time; return its name."""
    pending = current.removesuffix(_SUFFIX) if current.endswith(_SUFFIX) else current + _SUFFIX
    names = sql.Identifier(pending), sql.Identifier(current)
    with closing(psycopg2.connect(master_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles where rolname = %s", (pending,))
        if not cursor.fetchall():
            cursor.execute(sql.SQL("CREATE ROLE {} WITH LOGIN PASSWORD %s").format(names[0]), (password,))
            cursor.execute(sql.SQL("GRANT {1} TO {0}").format(*names))
        else:
            cursor.execute(sql.SQL("ALTER USER {} WITH PASSWORD %s").format(names[0]), (password,))
    return pending
