"""TLS to the database: the server's certificate and name are verified before a connection is used.

PostgreSQL from the wheel is built without TLS. A TLS proxy in front of the real server handles libpq's TLS request
(PostgreSQL, "Frontend/Backend Protocol", section SSL Session Encryption); the tests cover the product's client, its
libpq, and their configuration.
"""

import datetime
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import psycopg2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ratesflow.api.models.errors import DatabaseUnavailableError
from ratesflow.api.postgres.pool import ConnectionPool
from ratesflow.api.postgres.queries import session
from ratesflow.database.connect import connect, database_url
from tests.fix_database import PASSWORD, Database

TLS_REQUEST = struct.pack("!ii", 8, 80877103)


class Authority:
    """A certificate authority for tests."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._builder(self._name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(certificate.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, host: str, days: int = 1) -> ssl.SSLContext:
        """Return a server context with a certificate for this name."""
        key = ec.generate_private_key(ec.SECP256R1())
        name: x509.GeneralName = x509.DNSName(host)
        with suppress(ValueError):
            name = x509.IPAddress(ip_address(host))
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        built = self._builder(subject, key.public_key(), days).add_extension(
            x509.SubjectAlternativeName([name]), critical=False
        )
        path = self.folder / f"{host}-{days}.server.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(built.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, days: int = 1) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=key,
            serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(days=2),
            not_valid_after=now + datetime.timedelta(days=days),
        )


class TlsProxy:
    """Listens on loopback, accepts TLS (or rejects it without a context), and forwards to a server."""

    def __init__(self, target: int, context: ssl.SSLContext | None) -> None:
        self._target, self._context = target, context
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with suppress(OSError):
            first = near.recv(8, socket.MSG_PEEK)
            while first == TLS_REQUEST or first[4:8] == struct.pack("!i", 80877104):  # the latter requests GSSAPI
                near.recv(8)
                if first == TLS_REQUEST and self._context:
                    near.sendall(b"S")
                    near = self._context.wrap_socket(near, server_side=True)
                    self.connections += 1
                    break
                near.sendall(b"N")
                first = near.recv(8, socket.MSG_PEEK)
            far = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=_pump, args=(far, near), daemon=True).start()
            _pump(near, far)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The authority that the product is configured to trust."""
    return Authority(tmp_path, "trusted")


@pytest.fixture
def tls_proxy(database18: Database) -> Iterator[Callable[[ssl.SSLContext | None], TlsProxy]]:
    """A function that starts proxies in front of the real server."""
    proxies: list[TlsProxy] = []

    def make(context: ssl.SSLContext | None) -> TlsProxy:
        proxies.append(TlsProxy(database18.server.port, context))
        return proxies[-1]

    yield make
    for each in proxies:
        each.close()


def address(database: Database, proxy: TlsProxy, authorities: Path, host: str = "localhost") -> str:
    """Return the URL that the product builds from a secret and its settings."""
    secret = {"username": "loader", "password": PASSWORD, "host": "ignored.example", "port": proxy.port}
    return database_url(
        {
            "DATABASE_SECRET": json.dumps({**secret, "dbname": database.name}),
            "DATABASE_HOST": host,
            "DATABASE_SSLROOTCERT": str(authorities),
        }
    )


def test_connection_to_a_verified_server_uses_tls(
    database18: Database, tls_proxy: Callable[[ssl.SSLContext | None], TlsProxy], authority: Authority
) -> None:
    """Tasks and API connect over TLS to a server with a trusted certificate for its name."""
    server = tls_proxy(authority.issue("localhost"))
    url = address(database18, server, authority.file)
    assert "sslmode=verify-full" in url
    connection = connect(url, "ratesflow-test")
    assert connection.info.ssl_in_use
    assert connection.info.ssl_attribute("protocol") in ("TLSv1.2", "TLSv1.3")
    connection.close()
    pool = ConnectionPool(url.replace("loader:", "api:"), session(5))
    assert pool.fetch("SELECT 1", seconds=5)
    pool.close()
    assert server.connections >= 2


@pytest.mark.parametrize(
    ("host", "certified"),
    [("localhost", "other.example"), ("127.0.0.1", "localhost"), ("localhost", "localhost.example")],
)
def test_certificate_with_another_name_is_rejected(
    database18: Database,
    tls_proxy: Callable[[ssl.SSLContext | None], TlsProxy],
    authority: Authority,
    host: str,
    certified: str,
) -> None:
    """A trusted certificate for another name is rejected."""
    url = address(database18, tls_proxy(authority.issue(certified)), authority.file, host)
    with pytest.raises(psycopg2.OperationalError, match="does not match host name"):
        connect(url, "ratesflow-test")
    pool = ConnectionPool(url, session(5))
    with pytest.raises(DatabaseUnavailableError):
        pool.fetch("SELECT 1", seconds=5)
    pool.close()


def test_unverifiable_servers_are_rejected(
    database18: Database, tls_proxy: Callable[[ssl.SSLContext | None], TlsProxy], authority: Authority, tmp_path: Path
) -> None:
    """Servers with another authority, an expired certificate or no TLS are rejected."""
    stranger = Authority(tmp_path, "stranger")
    for context, message in (
        (stranger.issue("localhost"), "certificate verify failed"),
        (authority.issue("localhost", days=-1), "certificate verify failed"),
        (None, "server does not support SSL"),
    ):
        with pytest.raises(psycopg2.OperationalError, match=message):
            connect(address(database18, tls_proxy(context), authority.file), "ratesflow-test")
