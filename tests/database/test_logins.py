"""The users of loader and API: created from their secrets as members of their roles, and unchanged afterwards."""

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql
from sqlalchemy import make_url

from ratesflow.database.connect import NoDatabaseError, connect
from ratesflow.database.migrate import migrate
from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.batches.ledger import require_open
from ratesflow.loader.batches.shards import ClaimedShard
from ratesflow.loader.runtime.session import close_session, end_sessions, open_session
from tests.fix_database import Database
from tests.rotation import rotate


@pytest.fixture
def secrets(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, tuple[str, str]]]:
    """Unique names and passwords of two users, in the variables that a migration reads."""
    made = {}
    for variable, role in (("DATABASE_SECRET_LOADER", "loader"), ("DATABASE_SECRET_READER", "reader")):
        login = (f"{role} of {database.name}", f"pass'word-{role}%")
        monkeypatch.setenv(variable, json.dumps({"username": login[0], "password": login[1], "engine": "postgres"}))
        made[role] = login
    yield made
    for user, _ in made.values():
        database.query(f'DROP ROLE IF EXISTS "{user}"')


def logged_in(database: Database, login: tuple[str, str], query: str) -> list[tuple]:
    connected = psycopg2.connect(database.url, user=login[0], password=login[1])
    with closing(connected) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def test_users_are_created_with_their_roles(database: Database, secrets: dict[str, tuple[str, str]]) -> None:
    """Each user can log in with its password and do only what its role may do."""
    migrate(database.url)
    assert logged_in(database, secrets["loader"], "SELECT count(*) FROM batches") == [(0,)]
    assert logged_in(database, secrets["reader"], "SELECT count(*) FROM rates") == [(0,)]
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        logged_in(database, secrets["reader"], "SELECT count(*) FROM batches")
    with pytest.raises(psycopg2.OperationalError, match="password"):
        logged_in(database, (secrets["reader"][0], "wrong"), "SELECT 1")


def test_existing_user_keeps_its_password(
    database: Database, secrets: dict[str, tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration does not reset a password that rotation has changed."""
    migrate(database.url)
    user, password = secrets["loader"]
    monkeypatch.setenv("DATABASE_SECRET_LOADER", json.dumps({"username": user, "password": "another"}))
    migrate(database.url)
    assert logged_in(database, (user, password), "SELECT 1") == [(1,)]


@pytest.fixture
def two_users(database: Database, secrets: dict[str, tuple[str, str]]) -> Iterator[list[str]]:
    """The URLs of the loader's two alternating users; the second is a member of the first.

    One batch is open.
    """
    migrate(database.url)
    first, password = secrets["loader"]
    users = first, rotate(database.url, first, password)
    database.query("INSERT INTO batches (batch_id, bucket, key, version) VALUES ('b', 'b', 'k', 'v')")
    url = make_url(database.url)
    yield [url.set(username=user, password=password).render_as_string(hide_password=False) for user in users]
    database.query(f'DROP ROLE "{users[1]}"')


def attempts(urls: Iterable[str]) -> list[tuple[bool, bool]]:
    """Start attempts one after another, as a task and as a shard; return which of their sessions are still alive."""
    sessions = []
    for url in urls:
        opened = open_session(url, "load", "b/0"), connect(url, "test")
        with opened[1], opened[1].cursor() as cursor:
            entry = require_open(cursor, "b")
        ClaimedShard(opened[1], Batch("b", "b", "k", "v"), entry, "load").start()
        sessions.append(opened)
    found = []
    for opened in sessions:
        found.append(tuple(is_alive(each) for each in opened))
        close_session(opened[0])
        opened[1].close()
    return found


def is_alive(connection: Any) -> bool:
    """Return whether a session is still alive."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.2)")
    except psycopg2.OperationalError:
        return False
    return True


@pytest.mark.parametrize("turn", [1, -1], ids=["first", "second"])
def test_retry_terminates_an_attempt_of_the_other_user(two_users: list[str], turn: int) -> None:
    """Each of two alternating users finds and terminates hanging sessions of the other."""
    assert attempts(two_users[::turn]) == [(False, False), (True, True)]


def test_retry_continues_without_permission_to_terminate(database: Database, two_users: list[str]) -> None:
    """Without the grants, the first user cannot terminate the second's sessions and continues; so does a discard
    beside a commit."""
    granted = "pg_signal_backend, pg_monitor"
    database.query(f"REVOKE {granted} FROM ratesflow_loader")
    try:
        assert attempts(two_users[::-1]) == [(True, True), (True, True)]
        assert attempts(two_users) == [(False, False), (True, True)]
        with closing(open_session(two_users[1], "commit", "b/")) as commits:
            with closing(open_session(two_users[0], "discard", "b/")) as discards, discards.cursor() as cursor:
                end_sessions(cursor, "commit", "b/")
                cursor.execute("SELECT 1")
            assert is_alive(commits)
    finally:
        database.query(f"GRANT {granted} TO ratesflow_loader")


def test_names_and_passwords_may_have_any_character(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quotes, percent signs and non-ASCII letters are used literally."""
    login = f"a \"%s' ü of {database.name}", "%(x)s '\"\\ü€"
    monkeypatch.setenv("DATABASE_SECRET_READER", json.dumps({"username": login[0], "password": login[1]}))
    migrate(database.url)
    assert logged_in(database, login, "SELECT count(*) FROM rates") == [(0,)]
    with closing(psycopg2.connect(database.url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(login[0])))


@pytest.mark.parametrize(
    "text",
    [
        "secret words",
        "[]",
        '{"username": "secret words"}',
        '{"username": 5, "password": "secret words"}',
        '{"username": "", "password": "secret words"}',
        '{"username": "secret words", "password": null}',
    ],
)
def test_invalid_secret_is_reported_without_its_text(
    database: Database, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """The message about an invalid secret names the variable and does not contain its value."""
    monkeypatch.setenv("DATABASE_SECRET_READER", text)
    with pytest.raises(NoDatabaseError, match="DATABASE_SECRET_READER") as failure:
        migrate(database.url)
    assert "secret words" not in str(failure.value)
