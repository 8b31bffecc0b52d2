"""The two users that each role logs in as, in turn: the second is made at a rotation, and is a member of the first."""

import json
import secrets
from typing import Any

from sqlalchemy import make_url

from ratesflow.local.postgres.server import SUPERUSER
from tests.rotation import rotate

LOGINS = {"loader": ("loader", "loader_clone"), "api": ("api", "api_clone")}
SECRET = "ratesflow/local/loader"


def superuser_url(owner_url: str, passwords: dict[str, str]) -> str:
    """Return the address of the server's superuser, for its settings and its standbys."""
    return make_url(owner_url).set(username=SUPERUSER, password=passwords[SUPERUSER]).render_as_string(False)


def make_clones(owner_url: str, passwords: dict[str, str]) -> None:
    """Make the second user of each role, and note its password."""
    for user, clone in LOGINS.values():
        passwords[clone] = secrets.token_hex(12)
        rotate(owner_url, user, passwords[clone])


def tell_loader(client: Any, turn: int, passwords: dict[str, str]) -> None:
    """Write into the secret of the loader which of its users the next task logs in as: 0 or 1."""
    user = LOGINS["loader"][turn]
    told = json.loads(client.get_secret_value(SecretId=SECRET)["SecretString"])
    told |= {"username": user, "password": passwords[user]}
    client.put_secret_value(SecretId=SECRET, SecretString=json.dumps(told))
