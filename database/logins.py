"""The database users of the loader and the API, created from the secrets that hold their names and passwords.

Rotation by alternating users creates a second user for each, a member of the first, and later changes passwords.
So an existing user is left unchanged (AWS Secrets Manager User Guide, "Rotation strategy: alternating users").
"""

import json
from collections.abc import Mapping
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import encrypt_password
from sqlalchemy import Connection

from ratesflow.database.connect import NoDatabaseError

SECRETS = {"DATABASE_SECRET_LOADER": "ratesflow_loader", "DATABASE_SECRET_READER": "ratesflow_reader"}
"""The variables that hold the JSON text of a secret (`username, password, …`), and the role of its user."""


def create_logins(connection: Connection, environ: Mapping[str, str]) -> list[str]:
    """Create the users that the environment names and the database lacks; return their names.

    The server receives a SCRAM verifier, so that its logs cannot contain a password. Raises NoDatabaseError if a
    secret is malformed.
    """
    created = []
    raw: Any = connection.connection
    with raw.cursor() as cursor:
        for variable, role in SECRETS.items():
            if not (text := environ.get(variable)):
                continue
            user, password = _login(variable, text)
            cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (user,))
            if cursor.fetchone() is not None:
                continue
            verifier = encrypt_password(password, user, scope=cursor.connection, algorithm="scram-sha-256")
            # No parameters: a percent sign in the name would be read as a placeholder.
            create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}")
            cursor.execute(create.format(sql.Identifier(user), sql.Literal(verifier), sql.Identifier(role)))
            created.append(user)
    return created


def _login(variable: str, text: str) -> tuple[str, str]:
    try:
        secret = json.loads(text)
        user, password = secret["username"], secret["password"]
    except (ValueError, TypeError, KeyError) as error:
        # The text is a secret, so the message does not quote it.
        raise NoDatabaseError(
            f"{variable} is not a JSON object with username and password: {type(error).__name__}"
        ) from None
    if not all(isinstance(each, str) and each and "\0" not in each for each in (user, password)):
        raise NoDatabaseError(f"username and password of {variable} must be non-empty strings without NUL characters")
    return user, password
