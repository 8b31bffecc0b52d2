"""The service as a server starts it: this module alone reads the environment.

``DATABASE_URL`` or ``DATABASE_SECRET``
    where the database is (see ``database.connect``)
``RATESFLOW_API_TIMEOUT_SECONDS``
    within which a request has its answer from the database or becomes a 503; 1.8
``RATESFLOW_API_CONNECTIONS``
    to the database, at most, from each worker; 8
``RATESFLOW_API_MAX_WAITING``
    requests in each worker that may wait for one of them, before others are refused at once; 32
``RATESFLOW_API_MAX_AGE_SECONDS``
    for which a client or a CDN may keep an answer without asking again; 5
"""

import os
from collections.abc import Callable, Mapping
from typing import TypeVar

import psycopg2
from psycopg2.extensions import parse_dsn

from api.app import App, create_app
from api.connections import Connections
from api.queries import session
from api.reader import DatabaseReader
from database.connect import NoDatabaseError, database_url

T = TypeVar("T", int, float)


class SettingsError(Exception):
    """A setting in the environment cannot be used."""


def get_app(environ: Mapping[str, str] = os.environ) -> App:
    """Return the service as the environment describes it; no connection is opened yet.

    Raises SettingsError.
    """
    timeout_seconds = setting(environ, "RATESFLOW_API_TIMEOUT_SECONDS", 1.8, float)
    connections = Connections(
        _checked_url(environ),
        session(timeout_seconds),
        size=_size(environ),
        max_waiting=_max_waiting(environ),
    )
    return create_app(
        DatabaseReader(connections, timeout_seconds=timeout_seconds),
        max_age_seconds=setting(environ, "RATESFLOW_API_MAX_AGE_SECONDS", 5, int, least=0),
    )


def threads(environ: Mapping[str, str] = os.environ) -> int:
    """Return how many threads a worker needs to refuse requests while as many as allowed are at work or wait.

    Raises SettingsError.
    """
    return _size(environ) + _max_waiting(environ) + 8


def setting(environ: Mapping[str, str], name: str, default: T, parse: Callable[[str], T], least: float = 0.1) -> T:
    """Return a number from the environment. Raises SettingsError when it is none, or below `least`."""
    text = environ.get(name)
    if not text:
        return default
    try:
        value = parse(text)
    except ValueError:
        value = None
    if value is None or not least <= value < float("inf"):
        raise SettingsError(f"{name} is {text!r}: it must be a number such as {default}")
    return value


def _size(environ: Mapping[str, str]) -> int:
    return setting(environ, "RATESFLOW_API_CONNECTIONS", 8, int)


def _max_waiting(environ: Mapping[str, str]) -> int:
    return setting(environ, "RATESFLOW_API_MAX_WAITING", 32, int, least=0)


def _checked_url(environ: Mapping[str, str]) -> str:
    try:
        url = database_url(environ)
        parse_dsn(url)
    except NoDatabaseError as error:
        raise SettingsError(str(error)) from None
    except psycopg2.ProgrammingError:  # its message would show the password
        raise SettingsError("the database's address is not one: postgresql://user:password@host:port/name") from None
    return url
