"""Finds the addresses of the database's host in time.

libpq looks a name up by itself, and nothing ends that before the system's own limits, which are tens of seconds.
So names are looked up here, in a thread that may hang alone, and libpq is told addresses. It is told the name too,
which a certificate is checked against.
"""

import socket
import threading
import time
from concurrent.futures import Future
from ipaddress import ip_address

from psycopg2.extensions import parse_dsn


class UnknownHostError(Exception):
    """The name of a host is not known, or nobody tells what it stands for in time."""


class Addresses:
    """Addresses by name, looked up anew each time, and once for all who ask meanwhile."""

    def __init__(self) -> None:
        self._under_way: dict[str, Future[list[str]]] = {}
        self._lock = threading.Lock()

    def settings(self, url: str, deadline: float) -> dict[str, str]:
        """Return what to add to the address of a database so that libpq need not look its hosts up.

        Raises UnknownHostError, at `deadline` (of time.monotonic) at the latest.
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
            looked_up = self._under_way.get(name)
            if looked_up is None:
                looked_up = self._under_way[name] = Future()
                threading.Thread(target=self._look_up, args=(name, looked_up), daemon=True).start()
        try:
            return looked_up.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise UnknownHostError(f"the host name {name} was not looked up in time") from None
        except OSError as error:
            raise UnknownHostError(f"the host name {name} is not known: {error}") from None

    def _look_up(self, name: str, looked_up: "Future[list[str]]") -> None:
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            result, error = list(dict.fromkeys(str(address[0]) for *_, address in found)), None
        except (OSError, UnicodeError) as failed:
            result, error = [], failed if isinstance(failed, OSError) else OSError(str(failed))
        with self._lock:
            del self._under_way[name]
        if error:
            looked_up.set_exception(error)
        else:
            looked_up.set_result(result)


def _is_name(host: str) -> bool:
    """Return whether this has to be looked up: it is neither an address nor the folder of a socket."""
    if not host or host[0] in "/@":
        return False
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return True
    return False
