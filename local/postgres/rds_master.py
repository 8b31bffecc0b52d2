"""A stand-in for the master user of Amazon RDS: it makes roles and databases, and is no superuser.

AWS says what rds_superuser may do (RDS User Guide, "Understanding the rds_superuser role"), not of which roles it is a
member. That is known from roles that people have dumped from instances of RDS. pg_read_all_stats and the other
members of pg_monitor are not among those that it may grant.
"""

from contextlib import closing

import psycopg2
from psycopg2 import sql

MASTER = "ratesflow_admin"
"""As Terraform names it."""
_GROUP = "rds_superuser"
# With ADMIN OPTION, each where the server has it: pg_maintain is of PostgreSQL 17.
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
# Roles and databases of a server that was begun without a master become its own, as if it had made them.
_ROLES = "SELECT rolname FROM pg_roles WHERE NOT rolsuper AND rolname !~ '^pg_' AND rolname <> ALL (%s)"
_DATABASES = "SELECT datname FROM pg_database WHERE datdba = 'postgres'::regrole AND datname <> 'template0'"


def ensure_master(superuser_url: str, password: str) -> None:
    """Make the master user unless it is there: the only thing that is done as the server's superuser."""
    # CREATE ROLE gives its maker the same.
    as_made = "GRANT {} TO {} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"
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
            cursor.execute(sql.SQL(as_made).format(sql.Identifier(role), master))
        cursor.execute(_DATABASES)
        for (database,) in cursor.fetchall():
            cursor.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(database), master))
