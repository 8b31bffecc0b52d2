"""The two alternating users of each role: a rotation creates the second, which is a member of the first."""

import json
import secrets
from typing import Any

from sqlalchemy import make_url

from ratesflow.local.postgres.server import SUPERUSER
from tests.rotation import rotate

LOGINS = {"loader": ("loader", "loader_clone"), "api": ("api", "api_clone")}
SECRET = "ratesflow/local/loader"


def superuser_url(owner_url: str, passwords: dict[str, str]) -> str:
    """Return the URL of the server's superuser, for its settings and its standbys."""
    return make_url(owner_url).set(username=SUPERUSER, password=passwords[SUPERUSER]).render_as_string(False)


def make_clones(owner_url: str, passwords: dict[str, str]) -> None:
    """Create the second user of each role, and record its password."""
    for user, clone in LOGINS.values():
        passwords[clone] = secrets.token_hex(12)
        rotate(owner_url, user, passwords[clone])


def set_loader_login(client: Any, turn: int, passwords: dict[str, str]) -> None:
    """Set the user of new tasks, 0 or 1, in the loader's secret."""
    user = LOGINS["loader"][turn]
    secret = json.loads(client.get_secret_value(SecretId=SECRET)["SecretString"])
    secret |= {"username": user, "password": passwords[user]}
    client.put_secret_value(SecretId=SECRET, SecretString=json.dumps(secret))
