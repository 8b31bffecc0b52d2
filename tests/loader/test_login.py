"""A password that was rotated after the job was submitted: the task fetches the secret again."""

import json

import pytest
from sqlalchemy import make_url

from loader.database import connected
from tests.loader.conftest import Desk


def test_a_refused_password_is_fetched_again(desk18: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that came with the job is refused, and the one in Secrets Manager is right."""
    url = make_url(desk18.database.loader_url)
    secret = {"username": url.username, "host": url.host, "port": url.port, "dbname": url.database}
    new = json.dumps({**secret, "password": url.password})
    arn = desk18.aws("secretsmanager").create_secret(Name=desk18.bucket, SecretString=new)["ARN"]
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("DATABASE_SECRET", json.dumps({**secret, "password": "rotated away"}))
    monkeypatch.setenv("DATABASE_SECRET_ARN", arn)
    with connected("load") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == (url.username,)
