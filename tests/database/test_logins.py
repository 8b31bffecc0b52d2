"""The users of loader and API: made from their secrets, members of their roles, and left alone afterwards."""

import json
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from database.connect import NoDatabaseError
from database.migrate import migrate
from loader.shards import announce
from tests.fix_database import Database


@pytest.fixture
def secrets(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, tuple[str, str]]]:
    """Names and passwords of two users that no other test has, in the variables that a migration reads."""
    made = {}
    for variable, role in (("DATABASE_SECRET_LOADER", "loader"), ("DATABASE_SECRET_READER", "reader")):
        login = (f"{role} of {database.name}", f"pass'word-{role}%")
        monkeypatch.setenv(variable, json.dumps({"username": login[0], "password": login[1], "engine": "postgres"}))
        made[role] = login
    yield made
    for user, _ in made.values():
        database.ask(f'DROP ROLE IF EXISTS "{user}"')


def logged_in(database: Database, login: tuple[str, str], query: str) -> list[tuple]:
    connected = psycopg2.connect(database.url, user=login[0], password=login[1])
    with closing(connected) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def test_users_are_made_with_their_roles(database: Database, secrets: dict[str, tuple[str, str]]) -> None:
    """Each can log in by its password and do what its role can, and nothing else."""
    migrate(database.url)
    assert logged_in(database, secrets["loader"], "SELECT count(*) FROM batches") == [(0,)]
    assert logged_in(database, secrets["reader"], "SELECT count(*) FROM rates") == [(0,)]
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        logged_in(database, secrets["reader"], "SELECT count(*) FROM batches")
    with pytest.raises(psycopg2.OperationalError, match="password"):
        logged_in(database, (secrets["reader"][0], "wrong"), "SELECT 1")


def test_a_user_that_is_there_keeps_its_password(
    database: Database, secrets: dict[str, tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rotation changes passwords; a migration does not change them back."""
    migrate(database.url)
    user, password = secrets["loader"]
    monkeypatch.setenv("DATABASE_SECRET_LOADER", json.dumps({"username": user, "password": "another"}))
    migrate(database.url)
    assert logged_in(database, (user, password), "SELECT 1") == [(1,)]


@pytest.mark.parametrize("hung", ["first", "second"])
def test_a_retry_ends_an_attempt_of_the_other_user(
    database: Database, secrets: dict[str, tuple[str, str]], hung: str
) -> None:
    """Of two users that are rotated in turn, each finds and ends the attempts of the other; the second is a member."""
    migrate(database.url)
    first, password = secrets["loader"]
    second = f"{first}_clone"
    database.ask(f'CREATE ROLE "{second}" LOGIN PASSWORD %s IN ROLE "{first}"', password)
    users = (first, second) if hung == "first" else (second, first)
    try:
        database.ask("INSERT INTO batches (batch_id, bucket, key, version) VALUES ('b', 'b', 'k', 'v')")
        attempts = [psycopg2.connect(database.url, user=user, password=password) for user in users]
        for attempt in attempts:
            with attempt, attempt.cursor() as cursor:
                announce(cursor, 1, "load", 0)
        with pytest.raises(psycopg2.OperationalError), attempts[0].cursor() as cursor:
            cursor.execute("SELECT pg_sleep(5)")
        assert attempts[1].closed == 0
        attempts[1].close()
    finally:
        database.ask(f'DROP ROLE "{second}"')


@pytest.mark.parametrize("text", ["secret words", "[]", '{"username": "secret words"}'])
def test_a_secret_that_is_none_is_told_without_its_text(
    database: Database, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """The message names the variable."""
    monkeypatch.setenv("DATABASE_SECRET_READER", text)
    with pytest.raises(NoDatabaseError, match="DATABASE_SECRET_READER") as failure:
        migrate(database.url)
    assert "secret words" not in str(failure.value)
