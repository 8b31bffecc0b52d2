"""Resolves the host names of the database within a deadline.

libpq resolves names by itself, with no limit but the system's, which is tens of seconds. So names are resolved here, in
a thread of their own, and libpq receives the addresses. It also receives the name, to check a certificate against.
"""

import socket
import threading
import time
from concurrent.futures import Future
from ipaddress import ip_address

from psycopg2.extensions import parse_dsn


class UnknownHostError(Exception):
    """A host name cannot be resolved, or not in time."""


class Addresses:
    """Addresses by name; each call resolves them again, and simultaneous calls share one lookup."""

    def __init__(self) -> None:
        self._in_flight: dict[str, Future[list[str]]] = {}
        self._lock = threading.Lock()

    def settings(self, url: str, deadline: float) -> dict[str, str]:
        """Return connection settings with which libpq need not resolve the hosts of `url`.

        Raises UnknownHostError, by `deadline` (of time.monotonic).
        """
        given = parse_dsn(url)
        hosts = given.get("host", "").split(",")
        if given.get("hostaddr") or not any(map(_is_name, hosts)):
            return {}
        ports = given.get("port", "").split(",")
        ports = ports * len(hosts) if len(ports) == 1 else ports
        found = [
            (host, address, port)
            for host, port in zip(hosts, ports, strict=True)
            for address in (self._of(host, deadline) if _is_name(host) else [""])
        ]
        names, addresses, numbers = (",".join(column) for column in zip(*found, strict=True))
        return {"host": names, "hostaddr": addresses, "port": numbers}

    def _of(self, name: str, deadline: float) -> list[str]:
        with self._lock:
            looked_up = self._in_flight.get(name)
            if looked_up is None:
                looked_up = self._in_flight[name] = Future()
                threading.Thread(target=self._look_up, args=(name, looked_up), daemon=True).start()
        try:
            return looked_up.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise UnknownHostError(f"the host name {name} was not resolved in time") from None
        except OSError as error:
            raise UnknownHostError(f"the host name {name} cannot be resolved: {error}") from None

    def _look_up(self, name: str, looked_up: "Future[list[str]]") -> None:
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            result, error = list(dict.fromkeys(str(address[0]) for *_, address in found)), None
        except (OSError, UnicodeError) as failed:
            result, error = [], failed if isinstance(failed, OSError) else OSError(str(failed))
        with self._lock:
            del self._in_flight[name]
        if error:
            looked_up.set_exception(error)
        else:
            looked_up.set_result(result)


def _is_name(host: str) -> bool:
    """Return whether this must be resolved: it is neither an address nor the folder of a socket."""
    if not host or host[0] in "/@":
        return False
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return True
    return False
