"""The service as a server starts it: this module alone reads the environment.

``DATABASE_URL`` or ``DATABASE_SECRET``
    where the database is (see ``ratesflow.database.connect``)
``RATESFLOW_API_TIMEOUT_SECONDS``
    within which a request has its answer from the database or becomes a 503; 1.8
``RATESFLOW_API_POOL_SIZE``
    to the database, at most, from each worker; 8 (and one more, which looks for new data)
``RATESFLOW_API_MAX_QUEUED``
    requests in each worker that may wait for one of them, before others are refused at once; 64
``RATESFLOW_API_CACHE_MB``
    of known answers that each worker keeps; 64; 0 reads the database for every request
``RATESFLOW_API_POLL_SECONDS``
    how fresh answers must be: each worker stays at one data version, looks for a newer one this often, and moves
    there at once; 1. What a commit does not touch stays known, so a larger value only joins commits together
``RATESFLOW_API_MAX_STALE_SECONDS``
    for which known answers are given while the database cannot be reached; 30
``RATESFLOW_API_IDLE_SECONDS``
    without a request, after which nothing is polled and no connection is open until the next one; 300
``RATESFLOW_API_MAX_AGE_SECONDS``
    for which a client or a CDN may keep an answer without asking again; 5
``RATESFLOW_API_CORS_ORIGINS``
    whose pages may read answers, separated by spaces, or ``*``; none
``RATESFLOW_API_ACCESS_LOG``
    a line of JSON a request, if set to 1; 0
``RATESFLOW_ENVIRONMENT``
    what metrics say of where they come from; none
``RATESFLOW_API_METRICS_SECONDS``
    between two lines of metrics for CloudWatch on standard output; 60; 0 writes none
"""

import os
from collections.abc import Callable, Mapping
from typing import TypeVar

import psycopg2
from psycopg2.extensions import parse_dsn

from ratesflow.api.cache.latest_version import LatestVersion
from ratesflow.api.cache.response_cache import ResponseCache
from ratesflow.api.cache.version_poller import VersionPoller
from ratesflow.api.postgres.monotonic_reader import MonotonicReader
from ratesflow.api.postgres.pool import ConnectionPool
from ratesflow.api.postgres.queries import session
from ratesflow.api.postgres.reader import DatabaseReader
from ratesflow.api.resources.rates import RatesResource
from ratesflow.api.server.app import create_app
from ratesflow.api.server.cors import Cors
from ratesflow.api.server.fast_path import FastPath
from ratesflow.api.server.metrics import Metrics, Reporter
from ratesflow.database.connect import NoDatabaseError, database_url

# Requests in each worker that may wait for the same answer, which takes no connection.
MAX_JOINED = 100
POLL_TIMEOUT_SECONDS = 1.0

T = TypeVar("T", int, float)


class SettingsError(Exception):
    """A setting in the environment cannot be used."""


def get_app(environ: Mapping[str, str] = os.environ) -> FastPath:
    """Return the service as the environment describes it; no connection is opened yet.

    Raises SettingsError.
    """
    url = _checked_url(environ)
    seconds = setting(environ, "RATESFLOW_API_TIMEOUT_SECONDS", 1.8, float)
    newest = LatestVersion()
    # A connection of its own: when all others are busy, the news still comes in.
    idle_seconds = setting(environ, "RATESFLOW_API_IDLE_SECONDS", 300.0, float, least=0.01)
    polls = ConnectionPool(url, session(seconds), size=1, idle_seconds=idle_seconds)
    watch = _watch(environ, polls, newest, idle_seconds)
    connections = ConnectionPool(
        url,
        session(seconds),
        size=_size(environ),
        max_waiting=_max_waiting(environ),
        idle_seconds=idle_seconds,
        spare=polls,
    )
    max_bytes = int(setting(environ, "RATESFLOW_API_CACHE_MB", 64.0, float, least=0) * 1_000_000)
    if max_bytes:
        reader = DatabaseReader(connections, newest, is_good=watch.is_good)
    else:  # each request finds the newest version itself
        reader = DatabaseReader(connections, newest)
    forward = MonotonicReader(reader, newest, watch if max_bytes else None)
    known = _known(environ, newest, watch, max_bytes, seconds)
    environment = environ.get("RATESFLOW_ENVIRONMENT") or "none"
    metrics = Metrics(lambda: _gauges(connections, known, watch), environment)
    every = setting(environ, "RATESFLOW_API_METRICS_SECONDS", 60, int, least=0)
    origins = environ.get("RATESFLOW_API_CORS_ORIGINS", "").split()
    return FastPath(
        create_app(forward, known),
        known,
        RatesResource(forward, known),
        cors=Cors(origins) if origins else None,
        reporter=Reporter(metrics, seconds=every) if every else None,
        access_log=setting(environ, "RATESFLOW_API_ACCESS_LOG", 0, int, least=0) > 0,
    )


def threads(environ: Mapping[str, str] = os.environ) -> int:
    """Return how many threads a worker needs to refuse requests while as many as allowed are at work or wait.

    Raises SettingsError.
    """
    return _size(environ) + _max_waiting(environ) + MAX_JOINED + 8


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
    return setting(environ, "RATESFLOW_API_POOL_SIZE", 8, int)


def _max_waiting(environ: Mapping[str, str]) -> int:
    return setting(environ, "RATESFLOW_API_MAX_QUEUED", 64, int, least=0)


def _watch(
    environ: Mapping[str, str], connections: ConnectionPool, newest: LatestVersion, idle_seconds: float
) -> VersionPoller:
    reader = DatabaseReader(connections, newest, check_seconds=POLL_TIMEOUT_SECONDS)
    return VersionPoller(
        reader,
        newest,
        interval_seconds=setting(environ, "RATESFLOW_API_POLL_SECONDS", 1.0, float, least=0.01),
        max_stale_seconds=setting(environ, "RATESFLOW_API_MAX_STALE_SECONDS", 30.0, float, least=0),
        idle_seconds=idle_seconds,
        poll_seconds=POLL_TIMEOUT_SECONDS,
    )


def _known(
    environ: Mapping[str, str], newest: LatestVersion, watch: VersionPoller, max_bytes: int, seconds: float
) -> ResponseCache:
    max_age = setting(environ, "RATESFLOW_API_MAX_AGE_SECONDS", 5, int, least=0)
    max_stale = setting(environ, "RATESFLOW_API_MAX_STALE_SECONDS", 30.0, float, least=0)
    return ResponseCache(
        newest,
        watch,
        cache_control=f"public, max-age={max_age}, stale-if-error={int(max_stale)}",
        max_bytes=max_bytes,
        max_waiting=MAX_JOINED,
        seconds=seconds,
    )


def _gauges(connections: ConnectionPool, known: ResponseCache, watch: VersionPoller) -> dict[str, float]:
    busy, waited = connections.most_at_once()
    answers, size = known.size()
    gauges: dict[str, float] = {
        "ConnectionsBusy": busy,
        "ConnectionsWaited": waited,
        "CacheEntries": answers,
        "KnownBytes": size,
        "Outdated": known.outdated_since(),
    }
    age = watch.age()
    return gauges if age is None else {**gauges, "DataAge": round(age, 3)}


def _checked_url(environ: Mapping[str, str]) -> str:
    try:
        url = database_url(environ)
        parse_dsn(url)
    except NoDatabaseError as error:
        raise SettingsError(str(error)) from None
    except psycopg2.ProgrammingError:  # its message would show the password
        raise SettingsError("the database's address is not one: postgresql://user:password@host:port/name") from None
    return url
