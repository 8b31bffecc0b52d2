"""The address of the database, and connections to it.

The address is read from the environment. The first variable that is set wins:

* ``DATABASE_URL``: ``postgresql://user:password@host:port/name?sslmode=…``
* ``DATABASE_SECRET``: the JSON text of an AWS Secrets Manager secret, as ECS injects it
* ``DATABASE_SECRET_ARN``: the name or ARN of such a secret, fetched with boto3

A secret holds ``username, password, host, port, dbname``, the keys that RDS writes (AWS Secrets Manager
User Guide, "JSON structure of secrets"). ``DATABASE_HOST`` overrides its host, so that one secret serves the
endpoints of the writer and of the readers. ``DATABASE_SSLROOTCERT``, the path of a file of CA certificates,
turns on TLS with a verified server certificate.
"""

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg2

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

# A client that disappears is detected, and its locks are released, within a minute instead of after two hours.
KEEPALIVES = {
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
# The server must detect it too, not only the client: these are the server's settings for the session.
SESSION = "-c tcp_keepalives_idle=20 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3 -c datestyle=ISO"
# During a statement or a lock wait, the server checks whether the client is still connected.
CHECK_CLIENT = "-c client_connection_check_interval=1s"


class NoDatabaseError(Exception):
    """No database is configured, or its address cannot be read."""


def database_url(environ: Mapping[str, str] = os.environ) -> str:
    """Return the address of the database as a URL for libpq and SQLAlchemy.

    Raises NoDatabaseError if none is configured, or if a secret lacks a key.
    """
    if url := environ.get("DATABASE_URL"):
        return url
    if text := environ.get("DATABASE_SECRET"):
        return _from_secret(text, environ, "DATABASE_SECRET")
    if arn := environ.get("DATABASE_SECRET_ARN"):
        import boto3  # the API image does not have it, and does not need it
        from botocore.config import Config

        config = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": 3})
        text = boto3.client("secretsmanager", config=config).get_secret_value(SecretId=arn)["SecretString"]
        return _from_secret(text, environ, arn)
    raise NoDatabaseError(
        "no database is configured: set DATABASE_URL (postgresql://user:password@host:port/name), "
        "DATABASE_SECRET or DATABASE_SECRET_ARN"
    )


def _from_secret(text: str, environ: Mapping[str, str], name: str) -> str:
    try:
        secret = json.loads(text)
        user, password = secret["username"], secret["password"]
        host = environ.get("DATABASE_HOST") or secret["host"]
    except (ValueError, TypeError) as error:
        raise NoDatabaseError(f"the secret {name} is not a JSON object: {type(error).__name__}") from None
    except KeyError as error:
        raise NoDatabaseError(f"the secret {name} has no key {error}") from None
    name = quote(secret.get("dbname", "ratesflow"), safe="")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    url = f"postgresql://{login}@{host}:{secret.get('port', 5432)}/{name}"
    if ca_file := environ.get("DATABASE_SSLROOTCERT"):
        url += f"?sslmode=verify-full&sslrootcert={quote(ca_file, safe='/')}"
    return url


def connect(
    url: str,
    application_name: str,
    *,
    connect_timeout_seconds: int = 10,
    options: str = "",
    writable: bool = False,
) -> "Connection":
    """Open a connection that detects when the other end is gone. Raises psycopg2.OperationalError.

    `options` are further session settings, as `-c name=value`. With `writable` the connection fails on a read-only
    server, such as a writer that a failover has demoted while its name still points to it (PostgreSQL
    documentation, "target_session_attrs").
    """
    session_options = f"{SESSION} {CHECK_CLIENT} {options}"
    settings: dict[str, Any] = {"application_name": application_name, "options": session_options, **KEEPALIVES}
    if writable:
        settings["target_session_attrs"] = "read-write"
    connection: Connection = psycopg2.connect(url, connect_timeout=connect_timeout_seconds, **settings)
    return connection
