"""PostgreSQL after a crash, and with data that was created without a master user."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import psycopg2
import pytest

from ratesflow.database.migrate import migrate
from ratesflow.local.postgres import server as postgres
from ratesflow.local.postgres.rds_master import MASTER
from ratesflow.local.processes import free_port
from ratesflow.local.state_directory import StateDirectory
from ratesflow.local.supervisor import DATABASE, LOGINS, Ports, Stack
from tests.fix_database import run_alone
from tests.waiting import wait_for

KILLED = """
import os, signal, sys, time
from pathlib import Path
from ratesflow.local.postgres.server import start_postgres
data = Path(sys.argv[1])
server = start_postgres(data, int(sys.argv[2]), "only-for-tests", data.with_suffix(".log"))
os.kill(server.process.pid, signal.SIGKILL)
print(server.process.pid, flush=True)
time.sleep(60)
"""
# The number of batches, the owner of the database, and whether this user is a superuser.
OWNERSHIP = """
SELECT count(*), min(pg_get_userbyid(datdba)::text), bool_or(rolsuper)
FROM batches, pg_database, pg_roles WHERE datname = current_database() AND rolname = current_user
"""


@pytest.fixture
def data() -> Iterator[Path]:
    """A data directory that PostgreSQL's system user can access."""
    with tempfile.TemporaryDirectory(prefix="ratesflow-tests-") as folder:
        yield Path(folder) / "data"


def test_server_starts_after_a_killed_one_that_was_not_reaped(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server starts although its killed predecessor is a zombie, which PostgreSQL takes for running."""
    monkeypatch.setattr(postgres, "REAP_SECONDS", 1)
    port = free_port()
    command = [sys.executable, "-c", KILLED, str(data), str(port)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        server = postgres.start_postgres(data, port, "only-for-tests", data.with_suffix(".log"))
        psycopg2.connect(server.url()).close()
        server.stop()
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()


def test_data_without_a_master_user_is_migrated(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack whose objects the superuser created keeps its batches and logins, and the master becomes their owner."""
    home = StateDirectory(data.parent / "home")
    home.prepare()
    password = home.password(postgres.SUPERUSER)
    with monkeypatch.context() as without_master:
        without_master.setattr(postgres, "ensure_master", lambda *_: None)
        server = postgres.start_postgres(home.database, free_port(), password, home.logs / "postgres.log")
    run_alone(server.superuser_url(), f"CREATE DATABASE {DATABASE}")
    migrate(server.superuser_url(DATABASE))
    for user, role in LOGINS.items():
        run_alone(server.superuser_url(), f"CREATE ROLE {user} LOGIN PASSWORD 'lost' IN ROLE {role}")
    run_alone(
        server.superuser_url(DATABASE), "INSERT INTO batches (batch_id, bucket, key, version) VALUES (1, 2, 3, 4)"
    )
    server.stop()
    for _ in range(2):
        stack = Stack(home, Ports())
        addresses = stack._start_database()
        assert stack.postgres is not None
        try:
            for url in (addresses.owner, addresses.loader):
                with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
                    cursor.execute(OWNERSHIP)
                    assert cursor.fetchall() == [(1, MASTER, False)]
        finally:
            stack.postgres.stop()
