"""Creates the service from the environment, which only this module reads.

``DATABASE_URL`` or ``DATABASE_SECRET``
    the address of the database (see ``ratesflow.database.connect``)
``RATESFLOW_API_TIMEOUT_SECONDS``
    the deadline of a request that reads the database, after which the response is a 503; 1.8
``RATESFLOW_API_POOL_SIZE``
    the maximum number of database connections of each worker; 8 (and one more, which polls the data version)
``RATESFLOW_API_MAX_QUEUED``
    how many requests of each worker may wait for a connection, before further ones get a 503 at once; 64
``RATESFLOW_API_CACHE_MB``
    the size of each worker's cache of responses; 64; with 0 every request reads the database
``RATESFLOW_API_POLL_SECONDS``
    how often each worker polls for a newer data version, to which it then advances; 1. Responses that a commit does
    not touch stay cached, so a larger value only combines commits
``RATESFLOW_API_MAX_STALE_SECONDS``
    how long cached responses are served while the database cannot be reached; 30
``RATESFLOW_API_IDLE_SECONDS``
    the time without a request after which polling stops and connections are closed; 300
``RATESFLOW_API_MAX_AGE_SECONDS``
    how long clients and CDNs may cache a response; 5
``RATESFLOW_API_CORS_ORIGINS``
    the origins whose pages may read responses, separated by spaces, or ``*`` for all; none
``RATESFLOW_API_FAST_PATH``
    0 sends every request through Falcon (see ``ratesflow.api.server.fast_path``); 1
``RATESFLOW_API_ACCESS_LOG``
    1 logs one line of JSON per request; 0
``RATESFLOW_ENVIRONMENT``
    the dimension ``Environment`` of metrics; none
``RATESFLOW_API_METRICS_SECONDS``
    the interval between two lines of metrics on standard output; 60; 0 writes none
"""

import os
from collections.abc import Callable, Mapping
from typing import TypeVar

import psycopg2
from psycopg2.extensions import parse_dsn

from ratesflow.api.cache.monotonic_reader import MonotonicReader
from ratesflow.api.cache.response_cache import ResponseCache
from ratesflow.api.cache.version_poller import VersionPoller
from ratesflow.api.models.versions import LatestVersion
from ratesflow.api.postgres.pool import ConnectionPool
from ratesflow.api.postgres.queries import session
from ratesflow.api.postgres.reader import DatabaseReader
from ratesflow.api.resources.rates import RatesResource
from ratesflow.api.server.app import create_app
from ratesflow.api.server.cors import Cors
from ratesflow.api.server.fast_path import FastPath
from ratesflow.api.server.metrics import Metrics, Reporter
from ratesflow.api.server.service import Service
from ratesflow.database.connect import NoDatabaseError, database_url

# How many requests of each worker may wait for the same response; they take no connection.
MAX_COALESCED = 100
POLL_TIMEOUT_SECONDS = 1.0

T = TypeVar("T", int, float)


class SettingsError(Exception):
    """A setting in the environment is invalid."""


def get_app(environ: Mapping[str, str] = os.environ) -> Service:
    """Return the service with the settings of the environment; it opens no connection yet.

    Raises SettingsError.
    """
    url = _checked_url(environ)
    seconds = setting(environ, "RATESFLOW_API_TIMEOUT_SECONDS", 1.8, float)
    latest = LatestVersion()
    # A connection of its own, so that polls work when all others are busy.
    idle_seconds = setting(environ, "RATESFLOW_API_IDLE_SECONDS", 300.0, float, minimum=0.01)
    polls = ConnectionPool(url, session(seconds), size=1, idle_seconds=idle_seconds)
    poller = _poller(environ, polls, latest, idle_seconds)
    connections = ConnectionPool(
        url,
        session(seconds),
        size=_size(environ),
        max_queued=_max_queued(environ),
        idle_seconds=idle_seconds,
        spare=polls,
    )
    max_bytes = int(setting(environ, "RATESFLOW_API_CACHE_MB", 64.0, float, minimum=0) * 1_000_000)
    if max_bytes:
        reader = DatabaseReader(connections, latest, is_fresh=poller.is_fresh)
    else:  # each request reads the latest version itself
        reader = DatabaseReader(connections, latest)
    monotonic = MonotonicReader(reader, latest, poller if max_bytes else None)
    cache = _response_cache(environ, latest, poller, max_bytes, seconds)
    environment = environ.get("RATESFLOW_ENVIRONMENT") or "none"
    metrics = Metrics(lambda: _gauges(connections, cache, poller), environment)
    every = setting(environ, "RATESFLOW_API_METRICS_SECONDS", 60, int, minimum=0)
    origins = environ.get("RATESFLOW_API_CORS_ORIGINS", "").split()
    rates = RatesResource(monotonic, cache)
    return Service(
        create_app(monotonic, cache, rates),
        FastPath(cache, rates) if setting(environ, "RATESFLOW_API_FAST_PATH", 1, int, minimum=0) else None,
        cors=Cors(origins) if origins else None,
        reporter=Reporter(metrics, seconds=every) if every else None,
        access_log=setting(environ, "RATESFLOW_API_ACCESS_LOG", 0, int, minimum=0) > 0,
    )


def threads(environ: Mapping[str, str] = os.environ) -> int:
    """Return how many threads a worker needs to respond with 503 while as many requests as allowed run or wait.

    Raises SettingsError.
    """
    return _size(environ) + _max_queued(environ) + MAX_COALESCED + 8


def setting(environ: Mapping[str, str], name: str, default: T, parse: Callable[[str], T], minimum: float = 0.1) -> T:
    """Return a number from the environment. Raises SettingsError if it is not a number, or below `minimum`."""
    text = environ.get(name)
    if not text:
        return default
    try:
        value = parse(text)
    except ValueError:
        value = None
    if value is None or not minimum <= value < float("inf"):
        raise SettingsError(f"{name} is {text!r}: it must be a number such as {default}")
    return value


def _size(environ: Mapping[str, str]) -> int:
    return setting(environ, "RATESFLOW_API_POOL_SIZE", 8, int)


def _max_queued(environ: Mapping[str, str]) -> int:
    return setting(environ, "RATESFLOW_API_MAX_QUEUED", 64, int, minimum=0)


def _poller(
    environ: Mapping[str, str], connections: ConnectionPool, latest: LatestVersion, idle_seconds: float
) -> VersionPoller:
    reader = DatabaseReader(connections, latest, check_seconds=POLL_TIMEOUT_SECONDS)
    return VersionPoller(
        reader,
        latest,
        interval_seconds=setting(environ, "RATESFLOW_API_POLL_SECONDS", 1.0, float, minimum=0.01),
        max_stale_seconds=setting(environ, "RATESFLOW_API_MAX_STALE_SECONDS", 30.0, float, minimum=0),
        idle_seconds=idle_seconds,
        poll_seconds=POLL_TIMEOUT_SECONDS,
    )


def _response_cache(
    environ: Mapping[str, str], latest: LatestVersion, poller: VersionPoller, max_bytes: int, seconds: float
) -> ResponseCache:
    max_age = setting(environ, "RATESFLOW_API_MAX_AGE_SECONDS", 5, int, minimum=0)
    max_stale = setting(environ, "RATESFLOW_API_MAX_STALE_SECONDS", 30.0, float, minimum=0)
    return ResponseCache(
        latest,
        poller,
        cache_control=f"public, max-age={max_age}, stale-if-error={int(max_stale)}",
        max_bytes=max_bytes,
        max_coalesced=MAX_COALESCED,
        seconds=seconds,
    )


def _gauges(connections: ConnectionPool, cache: ResponseCache, poller: VersionPoller) -> dict[str, float]:
    busy, waited = connections.most_at_once()
    entries, size = cache.size()
    gauges: dict[str, float] = {
        "ConnectionsBusy": busy,
        "ConnectionsWaited": waited,
        "CacheEntries": entries,
        "CacheBytes": size,
        "CacheInvalidated": cache.invalidated_since_last(),
    }
    age = poller.age()
    return gauges if age is None else {**gauges, "DataAge": round(age, 3)}


def _checked_url(environ: Mapping[str, str]) -> str:
    try:
        url = database_url(environ)
        parse_dsn(url)
    except NoDatabaseError as error:
        raise SettingsError(str(error)) from None
    except psycopg2.ProgrammingError:  # its message could contain the password
        raise SettingsError(
            "the database's address is not valid; it looks like postgresql://user:password@host:port/name"
        ) from None
    return url
