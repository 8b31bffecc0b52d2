"""TLS to the database: the server's certificate is verified, with its name, or there is no connection.

PostgreSQL from the wheel is built without TLS. A front of TLS stands before the real server and answers libpq's
request for it (PostgreSQL, "Frontend/Backend Protocol", section SSL Session Encryption); what is tested is the
client that the product uses, its libpq, and how the product configures both.
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

WANTS_TLS = struct.pack("!ii", 8, 80877103)


class Authority:
    """A certificate authority of a test's own."""

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
        """Return what a server of this name presents."""
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


class TlsFront:
    """Listens on loopback, speaks TLS when asked to (or says that it has none), and passes on to a server."""

    def __init__(self, target: int, context: ssl.SSLContext | None) -> None:
        self._target, self._context = target, context
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with suppress(OSError):
            first = near.recv(8, socket.MSG_PEEK)
            while first == WANTS_TLS or first[4:8] == struct.pack("!i", 80877104):  # the latter asks for GSSAPI
                near.recv(8)
                if first == WANTS_TLS and self._context:
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
    """The authority that the product is told to trust."""
    return Authority(tmp_path, "trusted")


@pytest.fixture
def front(database18: Database) -> Iterator[Callable[[ssl.SSLContext | None], TlsFront]]:
    """Makes fronts before the real server."""
    made: list[TlsFront] = []

    def make(context: ssl.SSLContext | None) -> TlsFront:
        made.append(TlsFront(database18.server.port, context))
        return made[-1]

    yield make
    for each in made:
        each.close()


def address(database: Database, front: TlsFront, authorities: Path, host: str = "localhost") -> str:
    """Return the address that the product makes of a secret and of its settings."""
    secret = {"username": "loader", "password": PASSWORD, "host": "ignored.example", "port": front.port}
    return database_url(
        {
            "DATABASE_SECRET": json.dumps({**secret, "dbname": database.name}),
            "DATABASE_HOST": host,
            "DATABASE_SSLROOTCERT": str(authorities),
        }
    )


def test_a_server_of_the_right_name_is_spoken_to(
    database18: Database, front: Callable[[ssl.SSLContext | None], TlsFront], authority: Authority
) -> None:
    """With a certificate of the trusted authority for its name, tasks and API connect, over TLS."""
    server = front(authority.issue("localhost"))
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
def test_a_wrong_name_is_refused(
    database18: Database,
    front: Callable[[ssl.SSLContext | None], TlsFront],
    authority: Authority,
    host: str,
    certified: str,
) -> None:
    """A certificate of the trusted authority for another name is not enough."""
    url = address(database18, front(authority.issue(certified)), authority.file, host)
    with pytest.raises(psycopg2.OperationalError, match="does not match host name"):
        connect(url, "ratesflow-test")
    pool = ConnectionPool(url, session(5))
    with pytest.raises(DatabaseUnavailableError):
        pool.fetch("SELECT 1", seconds=5)
    pool.close()


def test_another_authority_an_old_certificate_and_no_tls_are_refused(
    database18: Database, front: Callable[[ssl.SSLContext | None], TlsFront], authority: Authority, tmp_path: Path
) -> None:
    """Nothing is sent to a server that cannot prove who it is."""
    stranger = Authority(tmp_path, "stranger")
    for context, words in (
        (stranger.issue("localhost"), "certificate verify failed"),
        (authority.issue("localhost", days=-1), "certificate verify failed"),
        (None, "server does not support SSL"),
    ):
        with pytest.raises(psycopg2.OperationalError, match=words):
            connect(address(database18, front(context), authority.file), "ratesflow-test")
