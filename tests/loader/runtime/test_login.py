"""The logins of a database as RDS gives it: made by a master that is no superuser, and rotated by AWS's function."""

import json
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import make_url

from ratesflow.api.postgres.pool import ConnectionPool
from ratesflow.api.postgres.queries import POLL, session
from ratesflow.database import reference, reference_change
from ratesflow.database.migrate import migrate
from ratesflow.loader.runtime.connection import connected
from ratesflow.loader.tasks.commit import commit
from ratesflow.loader.tasks.compact import compact
from ratesflow.loader.tasks.gc import gc
from ratesflow.loader.tasks.load import load
from ratesflow.loader.tasks.undo import undo
from ratesflow.loader.tasks.validate import validate
from tests.loader.conftest import TaskHarness
from tests.loader.samples import csv, rows
from tests.loader.task_calls import call_task
from tests.rotation import rotate

PASSWORD = "pass'word%"


@pytest.fixture
def logins(harness: TaskHarness, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Logins that no other test has, in the secrets that a migration reads; by the word of their roles."""
    users = {role: f"{role} of {harness.database.name}" for role in ("loader", "reader")}
    for role, user in users.items():
        secret = {"username": user, "password": PASSWORD, "engine": "postgres"}
        monkeypatch.setenv(f"DATABASE_SECRET_{role.upper()}", json.dumps(secret))
    yield users
    for user in users.values():
        for name in (f"{user}_clone", user):
            harness.database.query(f'DROP ROLE IF EXISTS "{name}"')


def address(harness: TaskHarness, user: str, password: str = PASSWORD) -> str:
    """Return the address of the harness's database for a user."""
    return make_url(harness.database.url).set(username=user, password=password).render_as_string(hide_password=False)


def everything(harness: TaskHarness, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do as a user what the loader does: two batches, an undo, and the upkeep."""
    monkeypatch.setenv("DATABASE_URL", address(harness, user))
    batches = [harness.send(csv(rows(300, seed=seed)), key=f"incoming/{seed}.csv") for seed in (1, 2)]
    with connected("reference") as connection:
        reference_change.load(connection, reference.builtin())
    for batch in batches:
        for task in (validate, load, commit):
            harness.run(task, batch)
    for task, *arguments in (
        (undo, batches[0].batch_id),
        (compact,),
        (gc, harness.bucket),
        (undo, batches[1].batch_id),
    ):
        with connected("test") as connection:
            call_task(task, connection, "run", *arguments)
    assert [harness.state(batch) for batch in batches] == ["undone", "undone"]


def test_everything_is_done_as_each_of_two_rotated_users(
    harness: TaskHarness, logins: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A master that is no superuser migrates, its password rotates, it migrates again and AWS rotates the logins: as
    each of its two users the loader does all that it does, and the API reads."""
    database = harness.database
    assert database.one("SELECT rolsuper OR rolreplication OR rolbypassrls FROM pg_roles WHERE rolname = user") is False
    migrate(database.url)
    master = make_url(database.url)
    database.query("ALTER USER CURRENT_USER PASSWORD 'another'")
    try:
        migrate(address(harness, str(master.username), "another"))
    finally:
        changed = address(harness, str(master.username), "another")
        with closing(database.connect(changed)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("ALTER USER CURRENT_USER PASSWORD %s", (master.password,))
    for role, first in logins.items():
        second = rotate(database.url, first, PASSWORD)
        assert rotate(database.url, second, PASSWORD) == first
        for user in (first, second):
            if role == "loader":
                everything(harness, user, monkeypatch)
            else:
                reads = ConnectionPool(address(harness, user), session(2))
                assert reads.fetch(POLL, (0,), seconds=5)
                reads.close()


def test_a_rejected_password_is_fetched_again(harness18: TaskHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The password that came with the job is rejected; the one from Secrets Manager is used."""
    url = make_url(harness18.database.loader_url)
    secret = {"username": url.username, "host": url.host, "port": url.port, "dbname": url.database}
    new = json.dumps({**secret, "password": url.password})
    arn = harness18.aws("secretsmanager").create_secret(Name=harness18.bucket, SecretString=new)["ARN"]
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("DATABASE_SECRET", json.dumps({**secret, "password": "rotated away"}))
    monkeypatch.setenv("DATABASE_SECRET_ARN", arn)
    with connected("load") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == (url.username,)
