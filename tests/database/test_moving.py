"""Moving a database by dump and restore, with the runbook's commands, as an owner that is not a superuser."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from falcon import testing

from ratesflow.database import reference, reference_change
from ratesflow.database.migrate import migrate
from ratesflow.local.postgres.server import POSTGRES_VERSIONS, Postgres
from ratesflow.workflow.client.aws_clients import AwsClients
from tests.api.service import connections_to, database_reader, uncached
from tests.ci.pipeline import ROOT
from tests.fix_database import PASSWORD, Database, drop_database, run_alone
from tests.loader.conftest import TaskHarness, make_harness
from tests.loader.samples import csv, rows
from tests.loader.tasks.test_tasks import committed

LOGINS = {"LOADER": "ratesflow_loader_login", "READER": "ratesflow_reader_login"}
RUNBOOK = (ROOT / "docs/operations.md").read_text(encoding="utf-8")


def commands(section: str) -> list[str]:
    """Return the commands of PostgreSQL's programs in a section of the runbook, in order."""
    text = RUNBOOK.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"^ +\$ ((?:psql|pg_dump|pg_restore) .*)$", text, re.M)


class Rds:
    """A database as on RDS, on a test server: its owner may create roles and is not a superuser."""

    def __init__(self, server: Postgres) -> None:
        self.database = Database(server, "ratesflow")
        self.url = server.url(database="ratesflow")

    def login(self, role: str, password: str) -> str:
        """Return the URL for a login that a migration created."""
        return self.database.server.url(LOGINS[role], password, "ratesflow")

    def migrate(self, monkeypatch: pytest.MonkeyPatch, password: str) -> None:
        """Migrate as the owner, with secrets that have this password."""
        for role, user in LOGINS.items():
            monkeypatch.setenv(f"DATABASE_SECRET_{role}", json.dumps({"username": user, "password": password}))
        migrate(self.url)

    def run(self, command: str, folder: Path) -> None:
        """Run a command of the runbook in a shell, on this database and with the newest programs."""
        programs = POSTGRES_VERSIONS[18]
        settings = {"PGPORT": str(self.database.server.port), "PGPASSWORD": PASSWORD, "old": "127.0.0.1"}
        environ = {**os.environ, **settings, "new": "127.0.0.1", "PATH": f"{programs}:{os.environ['PATH']}"}
        command = command.replace("ratesflow.dump", str(folder / "ratesflow.dump"))
        done = subprocess.run(command, shell=True, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@contextmanager
def _rds(server: Postgres) -> Iterator[Rds]:
    run_alone(server.url(), "CREATE DATABASE ratesflow")
    yield Rds(server)
    drop_database(server, "ratesflow")
    run_alone(server.url(), f"DROP ROLE IF EXISTS {', '.join(f'{user}_clone, {user}' for user in LOGINS.values())}")


@pytest.fixture
def old_and_new(servers: Callable[[int], Postgres]) -> Iterator[tuple[Rds, Rds]]:
    """Two empty databases, on PostgreSQL 16 and 18."""
    with ExitStack() as stack:
        yield stack.enter_context(_rds(servers(16))), stack.enter_context(_rds(servers(18)))


def responses(url: str) -> list[Any]:
    """Return the service's responses for every lane of the sample, and for one between regions."""
    connections = connections_to(url)
    try:
        client = testing.TestClient(uncached(database_reader(connections)))
        dates = {"date_from": "2021-01-20", "date_to": "2021-02-13"}
        lanes = sorted({(orig, dest) for orig, dest, _, _ in rows(3000)})
        found = [client.simulate_get("/rates", params={**dates, "orig_code": o, "dest_code": d}) for o, d in lanes]
        regions = {**dates, "orig_code": "china_main", "dest_code": "northern_europe"}
        return [answer.json for answer in (*found, client.simulate_get("/rates", params=regions))]
    finally:
        connections.close()


def _harness(rds: Rds, aws: AwsClients, monkeypatch: pytest.MonkeyPatch) -> TaskHarness:
    harness = make_harness(rds.database, aws, monkeypatch)
    monkeypatch.setenv("DATABASE_URL", rds.login("LOADER", "first"))
    return harness


def test_runbook_moves_a_database(
    old_and_new: tuple[Rds, Rds], aws: AwsClients, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After the move all data and rates are the same, and loads continue."""
    old, new = old_and_new
    old.migrate(monkeypatch, "first")
    with closing(psycopg2.connect(old.database.url)) as connection:
        reference_change.load(connection, reference.builtin())
    harness = _harness(old, aws, monkeypatch)
    committed(harness, csv(rows(3000)))
    before, everything = responses(old.login("READER", "first")), old.database.snapshot()
    assert any(day["price"] for day in before[-1]["rates"]), "a region of the sample has prices"

    steps = commands("Moving between Aurora and RDS")
    assert [step.split()[0] for step in steps] == ["psql", "pg_dump", "pg_restore", "psql"]
    for step in steps:
        (old if '"$old"' in step else new).run(step, tmp_path)
    new.migrate(monkeypatch, "second")

    assert new.database.snapshot() == everything
    assert new.database.one("SELECT last_analyze FROM pg_stat_user_tables WHERE relname = 'rates'") is not None
    assert responses(new.login("READER", "second")) == before
    monkeypatch.setenv("DATABASE_URL", new.login("LOADER", "second"))
    moved = TaskHarness(new.database, harness.bucket, harness.aws)
    committed(moved, csv(rows(500, seed=2)), key="incoming/later.csv")
    assert moved.database.one("SELECT count(*) FROM committed_prices") == 3500


def test_users_of_a_restored_database_are_recreated(
    old_and_new: tuple[Rds, Rds], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After a restore, the users have the passwords of the secrets, whatever the restored users were."""
    _, restored = old_and_new
    restored.migrate(monkeypatch, "restored")
    with closing(psycopg2.connect(restored.url)) as owner, owner, owner.cursor() as cursor:
        for user in LOGINS.values():  # as rotation does
            cursor.execute(f"CREATE ROLE {user}_clone WITH LOGIN PASSWORD 'restored'")
            cursor.execute(f"GRANT {user} TO {user}_clone")

    (drop,) = commands("Restore")
    restored.run(drop, tmp_path)
    restored.migrate(monkeypatch, "current")

    for role, query in {"LOADER": "SELECT count(*) FROM batches", "READER": "SELECT count(*) FROM rates"}.items():
        with closing(psycopg2.connect(restored.login(role, "current"))) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            assert cursor.fetchone() == (0,)
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(restored.login(role, "restored"))
