"""PostgreSQL after a crash, and with data from before it had a master user."""

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
from tests.local.process_control import wait_for

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
# How many batches there are, whose the database is, and whether this user is a superuser.
TAKEN_OVER = """
SELECT count(*), min(pg_get_userbyid(datdba)::text), bool_or(rolsuper)
FROM batches, pg_database, pg_roles WHERE datname = current_database() AND rolname = current_user
"""


@pytest.fixture
def data() -> Iterator[Path]:
    """A place for data that PostgreSQL's own user can reach."""
    with tempfile.TemporaryDirectory(prefix="ratesflow-tests-") as folder:
        yield Path(folder) / "data"


def test_a_killed_server_that_nobody_reaps_is_followed_by_another(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zombie looks alive to PostgreSQL, which would refuse to start beside it; it starts all the same."""
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


def test_data_from_before_the_master_is_taken_over(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack whose superuser made everything goes on with its batches, migrations and logins; from then on its
    master does it."""
    home = StateDirectory(data.parent / "home")
    home.prepare()
    password = home.password(postgres.SUPERUSER)
    with monkeypatch.context() as before:
        before.setattr(postgres, "ensure_master", lambda *_: None)
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
                    cursor.execute(TAKEN_OVER)
                    assert cursor.fetchall() == [(1, MASTER, False)]
        finally:
            stack.postgres.stop()
