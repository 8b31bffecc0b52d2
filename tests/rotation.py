"""The statements that a rotation by alternating users executes as the master.

They are those of AWS's function SecretsManagerRDSPostgreSQLRotationMultiUser (set_secret).
"""

from contextlib import closing

import psycopg2
from psycopg2 import sql

_SUFFIX = "_clone"


def rotate(master_url: str, current: str, password: str) -> str:
    """Set a new password for the other user, creating the user the first time; return the user's name."""
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
