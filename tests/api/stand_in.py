"""A fake database, and the service on it, for tests of responses without PostgreSQL."""

import threading
import time
from typing import Any

from falcon import testing

from ratesflow.api.cache.monotonic_reader import MonotonicReader
from ratesflow.api.cache.response_cache import ResponseCache
from ratesflow.api.cache.version_poller import VersionPoller
from ratesflow.api.models.errors import DatabaseUnavailableError
from ratesflow.api.models.rates import Rates, RatesQuery, ReferenceData
from ratesflow.api.models.versions import LatestVersion, PollResult, Version
from ratesflow.api.resources.rates import RatesResource
from ratesflow.api.server.app import create_app
from ratesflow.api.server.fast_path import FastPath
from ratesflow.api.server.service import Service
from ratesflow.database.lanes import bitmap

PARAMS = {"date_from": "2021-01-01", "date_to": "2021-01-02", "orig_code": "CNGGZ", "dest_code": "EETLL"}


class Database:
    """A fake database with a version, which can be unavailable and counts reads and polls."""

    def __init__(self) -> None:
        self.at = Version("e", 1)
        self.changes: list[tuple[int, bytes | None]] = []
        self.unavailable = False
        self.unreadable = False  # while its version can be polled
        self.seconds = 0.0
        self.reads = self.polls = self.closes = 0

    def commit(self, *lanes: tuple[str, str]) -> None:
        """Increment the version; the change touches these lanes."""
        self.changes.append((self.at.number + 1, bitmap(lanes)))
        self.at = Version(self.at.epoch, self.at.number + 1)

    def rates(self, query: RatesQuery, deadline: float) -> Rates:
        """Return no rates, after `seconds`."""
        self.reads += 1
        at = self.at
        time.sleep(self.seconds)
        if self.unavailable or self.unreadable:
            raise DatabaseUnavailableError("unavailable")
        return Rates(at, at, True, True, {})

    def poll_version(self, seconds: float) -> PollResult:
        """Return the version and the changes that led to it."""
        self.polls += 1
        if self.unavailable:
            raise DatabaseUnavailableError("unavailable")
        return PollResult(self.at, max(0, self.at.number - 64), self.changes)

    def close_idle(self) -> None:
        """Count the call."""
        self.closes += 1

    def reference_data(self, deadline: float) -> ReferenceData:
        """Return no ports and regions."""
        return ReferenceData(self.at, self.at, (), ())

    def similar(self, text: str, deadline: float) -> list[str]:
        """Return no suggestions."""
        return []

    def check(self) -> None:
        """Succeed."""


def service(database: Database, *, fast_path: bool = True, **options: Any) -> Service:
    """Return the service on the database. It polls often, or, if `interval_seconds` is None, only during requests."""
    latest = LatestVersion()
    times = {name: options.pop(name) for name in list(options) if name in ("idle_seconds", "max_stale_seconds")}
    interval_seconds = options.pop("interval_seconds", 0.02)
    poller = VersionPoller(database, latest, interval_seconds=interval_seconds or 0, **times)
    if interval_seconds is None:
        poller._thread = threading.current_thread()  # so that no thread is started
    options = {"seconds": 0.4, **options}
    cache = ResponseCache(latest, poller, **options)
    reader = MonotonicReader(database, latest, poller if options.get("max_bytes") != 0 else None)
    rates = RatesResource(reader, cache)
    return Service(create_app(reader, cache, rates), FastPath(cache, rates) if fast_path else None)


def get(app: Service, query: str = "", **headers: str) -> testing.Result:
    """Request rates; header names are written with underscores."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    text = "&".join(f"{name}={value}" for name, value in PARAMS.items()) + query
    return testing.TestClient(app).simulate_get("/rates", query_string=text, headers=sent)


def get_lane(app: Service, orig: str, dest: str, **headers: str) -> testing.Result:
    """Request the rates of another lane."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return testing.TestClient(app).simulate_get(
        "/rates", params=PARAMS | {"orig_code": orig, "dest_code": dest}, headers=sent
    )


TOUCHED = ("CNGGZ", "EETLL")
LANES = [TOUCHED, ("CNGGZ", "baltic"), ("china", "EETLL"), ("CNSGH", "EETLL"), ("CNSGH", "baltic"), ("china", "baltic")]
