"""Whose access key a request bears, and what that role may do.

The key of a role is made of its ARN, so that whoever starts a part can give it its key, and the key is still right
after the embedded AWS has begun again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from ratesflow.local.aws.iam.policy import Statement, parse

_OWN = "ASIALOCAL"  # ASIA is how keys of roles begin on AWS; no account has keys of this form


class UnknownRoleError(LookupError):
    """The key is that of a role which is not there (yet)."""


@dataclass(frozen=True)
class Role:
    """A role and the statements of all its policies."""

    name: str
    arn: str
    statements: tuple[Statement, ...]

    @property
    def principal(self) -> str:
        """Return who acts under it, as messages of AWS name it."""
        account = self.arn.split(":")[4]
        return f"arn:aws:sts::{account}:assumed-role/{self.name}/ratesflow"


@lru_cache(maxsize=1024)
def access_key(role_arn: str) -> str:
    """Return the access key id of a role; its secret may be anything."""
    return _OWN + hashlib.sha256(role_arn.encode()).hexdigest()[:11].upper()


def credentials(role_arn: str) -> dict[str, str]:
    """Return the environment variables with which a process acts under a role."""
    return {"AWS_ACCESS_KEY_ID": access_key(role_arn), "AWS_SECRET_ACCESS_KEY": "role"}


def role_of(key: str, account: str) -> Role | None:
    """Return the role to which a key belongs; None for one that belongs to none and may do everything.

    Raises UnknownRoleError when the role is not there.
    """
    from moto.iam.models import iam_backends
    from moto.sts.models import sts_backends

    known = {role.arn: role for role in list(iam_backends[account]["aws"].roles.values())}
    if key.startswith(_OWN):
        for arn, role in known.items():
            if access_key(arn) == key:
                return Role(role.name, arn, _statements(role))
        raise UnknownRoleError("the role of this access key is not there: it is made when the stack is deployed")
    for assumed in list(sts_backends[account]["aws"].assumed_roles):
        if assumed.access_key_id == key and (role := known.get(assumed.role_arn)):
            return Role(role.name, role.arn, _statements(role))
    return None


def _statements(role: object) -> tuple[Statement, ...]:
    inline: Mapping[str, str] = role.policies  # type: ignore[attr-defined] # moto is untyped
    managed = [policy.document for policy in role.managed_policies.values()]  # type: ignore[attr-defined]
    return tuple(statement for text in [*inline.values(), *managed] for statement in parse(text))
