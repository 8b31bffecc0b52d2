"""Where the database is, and connections to it.

The address comes from the environment, in this order:

* ``DATABASE_URL``: ``postgresql://user:password@host:port/name?sslmode=…``
* ``DATABASE_SECRET``: the JSON text of a secret of AWS Secrets Manager, as ECS injects it
* ``DATABASE_SECRET_ARN``: the name or ARN of such a secret, fetched with boto3

A secret holds ``username, password, host, port, dbname``, the keys that RDS writes (AWS Secrets Manager
User Guide, "JSON structure of secrets"); ``DATABASE_HOST`` goes before its host, so that one secret serves
the writer's and the readers' endpoints. TLS with a verified certificate is asked for with
``DATABASE_SSLROOTCERT``, the path of the authorities' certificates.
"""

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg2

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

# A client that vanishes is noticed within a minute, and its locks go with it, rather than after two hours.
KEEPALIVES = {
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
# The database, not only the client, must notice: these are the server's own settings for the session.
SESSION = "-c tcp_keepalives_idle=20 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3 -c datestyle=ISO"
# In the middle of a statement, or of a wait for a lock, it looks whether the client is still there.
LOOKS_AFTER_CLIENT = "-c client_connection_check_interval=1s"


class NoDatabaseError(Exception):
    """No database is named, or what names it cannot be read."""


def database_url(environ: Mapping[str, str] = os.environ) -> str:
    """Return the address of the database, as libpq and SQLAlchemy read it.

    Raises NoDatabaseError when nothing names one, or a secret lacks a key.
    """
    if url := environ.get("DATABASE_URL"):
        return url
    if text := environ.get("DATABASE_SECRET"):
        return _from_secret(text, environ, "DATABASE_SECRET")
    if arn := environ.get("DATABASE_SECRET_ARN"):
        import boto3  # the API's image has none, and needs none
        from botocore.config import Config

        config = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": 3})
        text = boto3.client("secretsmanager", config=config).get_secret_value(SecretId=arn)["SecretString"]
        return _from_secret(text, environ, arn)
    raise NoDatabaseError(
        "no database is named: set DATABASE_URL (postgresql://user:password@host:port/name), "
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
    if authorities := environ.get("DATABASE_SSLROOTCERT"):
        url += f"?sslmode=verify-full&sslrootcert={quote(authorities, safe='/')}"
    return url


def connect(
    url: str,
    application_name: str,
    *,
    connect_timeout_seconds: int = 10,
    options: str = "",
    writable: bool = False,
) -> "Connection":
    """Open a connection that notices when its other end is gone. Raises psycopg2.OperationalError.

    `options` are further settings of the session, as `-c name=value`. With `writable` a server that takes no writes,
    such as a writer that was demoted in a failover while its name still leads to it, is refused (PostgreSQL
    documentation, "target_session_attrs").
    """
    said = f"{SESSION} {LOOKS_AFTER_CLIENT} {options}"
    settings: dict[str, Any] = {"application_name": application_name, "options": said, **KEEPALIVES}
    if writable:
        settings["target_session_attrs"] = "read-write"
    connection: Connection = psycopg2.connect(url, connect_timeout=connect_timeout_seconds, **settings)
    return connection
