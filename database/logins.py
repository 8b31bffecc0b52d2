"""The users that loader and API log in as, made from the secrets that hold their names and passwords.

Rotation by alternating users makes a second user of each, a member of the first, and later changes passwords;
so a user that is there stays as it is (AWS Secrets Manager User Guide, "Rotation strategy: alternating users").
"""

import json
from collections.abc import Mapping
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import encrypt_password
from sqlalchemy import Connection

from ratesflow.database.connect import NoDatabaseError

SECRETS = {"DATABASE_SECRET_LOADER": "ratesflow_loader", "DATABASE_SECRET_READER": "ratesflow_reader"}
"""Variables with the JSON text of a secret (`username, password, …`), and the role that its user is a member of."""


def make_logins(connection: Connection, environ: Mapping[str, str]) -> list[str]:
    """Make the users that the environment names and the database lacks; return their names.

    The server is sent a SCRAM verifier, so that no log of it can hold a password. Raises NoDatabaseError when a
    secret is not what it should be.
    """
    made = []
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
            # No parameter: a percent sign in the name would be taken for another.
            create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}")
            cursor.execute(create.format(sql.Identifier(user), sql.Literal(verifier), sql.Identifier(role)))
            made.append(user)
    return made


def _login(variable: str, text: str) -> tuple[str, str]:
    try:
        secret = json.loads(text)
        user, password = secret["username"], secret["password"]
    except (ValueError, TypeError, KeyError) as error:
        # Without the text, which is a secret.
        raise NoDatabaseError(
            f"{variable} is no JSON object with username and password: {type(error).__name__}"
        ) from None
    if not all(isinstance(each, str) and each and "\0" not in each for each in (user, password)):
        raise NoDatabaseError(f"username and password of {variable} must be texts, not empty and without a NUL")
    return user, password
