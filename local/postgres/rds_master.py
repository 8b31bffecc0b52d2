"""A substitute for the master user of Amazon RDS: it creates roles and databases, and is not a superuser.

AWS documents what rds_superuser may do (RDS User Guide, "Understanding the rds_superuser role"), but not of which
roles it is a member; these come from published dumps of RDS instances. It may not grant pg_read_all_stats and the
other members of pg_monitor.
"""

from contextlib import closing

import psycopg2
from psycopg2 import sql

MASTER = "ratesflow_admin"
"""The name that Terraform gives it."""
_GROUP = "rds_superuser"
# With ADMIN OPTION; those that the server does not have are skipped: pg_maintain is new in PostgreSQL 17.
_GRANTED = [
    "pg_checkpoint",
    "pg_create_subscription",
    "pg_maintain",
    "pg_monitor",
    "pg_read_all_data",
    "pg_signal_backend",
    "pg_use_reserved_connections",
    "pg_write_all_data",
]
# On a server that was created without a master, existing roles and databases become the master's.
_ROLES = "SELECT rolname FROM pg_roles WHERE NOT rolsuper AND rolname !~ '^pg_' AND rolname <> ALL (%s)"
_DATABASES = "SELECT datname FROM pg_database WHERE datdba = 'postgres'::regrole AND datname <> 'template0'"


def ensure_master(superuser_url: str, password: str) -> None:
    """Create the master user unless it exists; nothing else uses the server's superuser."""
    # CREATE ROLE grants its creator the same.
    as_created = "GRANT {} TO {} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"
    with closing(psycopg2.connect(superuser_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (MASTER,))
        if cursor.fetchone() is not None:
            return
        group, master = sql.Identifier(_GROUP), sql.Identifier(MASTER)
        cursor.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(group))
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", (_GRANTED,))
        for (role,) in cursor.fetchall():
            cursor.execute(sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(sql.Identifier(role), group))
        create = sql.SQL("CREATE ROLE {} LOGIN CREATEDB CREATEROLE PASSWORD {} IN ROLE {}")
        cursor.execute(create.format(master, sql.Literal(password), group))
        cursor.execute(_ROLES, ([_GROUP, MASTER],))
        for (role,) in cursor.fetchall():
            cursor.execute(sql.SQL(as_created).format(sql.Identifier(role), master))
        cursor.execute(_DATABASES)
        for (database,) in cursor.fetchall():
            cursor.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(database), master))
