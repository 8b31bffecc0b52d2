"""Two standbys behind one address with different lags, and an API that reads from them, as with readers on AWS."""

import os
import random
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import psycopg2

from ratesflow.local.postgres.rds_master import MASTER
from ratesflow.local.postgres.server import POSTGRES_VERSIONS, SUPERUSER, VERSION, Postgres, start_postgres
from ratesflow.local.processes import free_port, identity, python, start, stop
from tests.faults.campaign.queries import execute_autocommit, query
from tests.faults.readers.proxies import Wire

API_WORKERS = 2
# The initial lag of the second standby.
LAG_SECONDS = 1.0
_SETTINGS = {"hot_standby": "on", "max_connections": "200", "max_wal_size": "4GB", "fsync": "off"}


class Standbys:
    """Standbys of one server, and an API whose database address leads to each of them in turn.

    `owner_url` is the URL of the server for its master, `superuser_url` for its superuser, who may copy it; `owner` is
    the system user that the server runs as.
    """

    def __init__(self, owner_url: str, superuser_url: str, owner: str, passwords: dict[str, str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ratesflow-standbys-"))
        self._user = owner if os.geteuid() == 0 else None
        self._name, self._passwords = owner_url.rpartition("/")[2], passwords
        self.servers = self._copies(superuser_url)
        self.wire = Wire(*(server.port for server in self.servers))
        self.lag(self.servers[1], LAG_SECONDS)
        self.api: subprocess.Popen[bytes] | None = None
        self._port = free_port()

    def _copies(self, superuser_url: str) -> list[Postgres]:
        if self._user:
            shutil.chown(self.folder, self._user)
        first, second = (self.folder / name / "data" for name in ("first", "second"))
        command = [str(POSTGRES_VERSIONS[VERSION] / "pg_basebackup"), "--pgdata", str(first)]
        command += ["--write-recovery-conf", "--dbname", superuser_url, "--checkpoint", "fast"]
        subprocess.run(command, check=True, cwd="/", **identity(self._user))
        subprocess.run(["cp", "-a", str(first.parent), str(second.parent)], check=True)
        return [
            start_postgres(
                data,
                free_port(),
                self._passwords[MASTER],
                data.parent / "log",
                superuser_password=self._passwords[SUPERUSER],
                version=VERSION,
                settings=_SETTINGS,
            )
            for data in (first, second)
        ]

    @property
    def urls(self) -> list[str]:
        """The URL of each standby, for its master."""
        return [server.url(database=self._name) for server in self.servers]

    @property
    def api_url(self) -> str:
        """The URL of the API that reads from the standbys."""
        return f"http://127.0.0.1:{self._port}"

    def start_api(self, user: str, password: str) -> None:
        """Start the API with this login; a running one is stopped first, as after a rotation."""
        if self.api:
            stop(self.api, signal.SIGTERM, grace_seconds=10)
        url = f"postgresql://{user}:{password}@127.0.0.1:{self.wire.port}/{self._name}"
        command = python(
            "ratesflow.api", "--host", "127.0.0.1", "--port", str(self._port), "--workers", str(API_WORKERS)
        )
        self.api = start(command, self.folder / "api.log", environment={"DATABASE_URL": url})

    def lag(self, server: Postgres, seconds: float) -> None:
        """Set the replay delay of a standby."""
        with suppress(psycopg2.Error):
            execute_autocommit(
                server.superuser_url(), f"ALTER SYSTEM SET recovery_min_apply_delay = '{int(seconds * 1000)}ms'"
            )
            query(server.superuser_url(), "SELECT pg_reload_conf()")

    def pause(self, server: Postgres) -> None:
        """Pause the replay of a standby until `resume`."""
        with suppress(psycopg2.Error):
            query(server.superuser_url(), "SELECT pg_wal_replay_pause()")

    def resume(self) -> None:
        """Resume the replay of all standbys."""
        for server in self.servers:
            with suppress(psycopg2.Error):
                query(server.superuser_url(), "SELECT pg_wal_replay_resume()")

    def either(self, rng: random.Random) -> Postgres:
        """Choose a standby at random."""
        return rng.choice(self.servers)

    def end(self) -> None:
        """Stop all processes and remove the data."""
        if self.api:
            stop(self.api, signal.SIGTERM, grace_seconds=10)
        self.wire.close()
        for server in self.servers:
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
