"""Maps access keys to roles and their policies.

The key of a role is derived from its ARN, so that it can be passed to a component before the role exists and stays
valid after the embedded AWS restarts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from ratesflow.local.aws.iam.policy import Statement, parse

_PREFIX = "ASIALOCAL"  # keys of roles start with ASIA on AWS; no account has keys of this form


class UnknownRoleError(LookupError):
    """The key belongs to a role that does not exist (yet)."""


@dataclass(frozen=True)
class Role:
    """A role and the statements of all its policies."""

    name: str
    arn: str
    statements: tuple[Statement, ...]

    @property
    def principal(self) -> str:
        """Return the principal of the role, as in AWS's messages."""
        account = self.arn.split(":")[4]
        return f"arn:aws:sts::{account}:assumed-role/{self.name}/ratesflow"


@lru_cache(maxsize=1024)
def access_key(role_arn: str) -> str:
    """Return the access key id of a role; any secret is accepted."""
    return _PREFIX + hashlib.sha256(role_arn.encode()).hexdigest()[:11].upper()


def credentials(role_arn: str) -> dict[str, str]:
    """Return the environment variables that give a process a role."""
    return {"AWS_ACCESS_KEY_ID": access_key(role_arn), "AWS_SECRET_ACCESS_KEY": "role"}


def role_of(key: str, account: str) -> Role | None:
    """Return the role of a key; None for a key without a role, which has administrator rights.

    Raises UnknownRoleError if the role does not exist.
    """
    from moto.iam.models import iam_backends
    from moto.sts.models import sts_backends

    roles = {role.arn: role for role in list(iam_backends[account]["aws"].roles.values())}
    if key.startswith(_PREFIX):
        for arn, role in roles.items():
            if access_key(arn) == key:
                return Role(role.name, arn, _statements(role))
        raise UnknownRoleError(
            "the role of this access key does not exist yet: it is created when the stack is deployed"
        )
    for assumed in list(sts_backends[account]["aws"].assumed_roles):
        if assumed.access_key_id == key and (role := roles.get(assumed.role_arn)):
            return Role(role.name, role.arn, _statements(role))
    return None


def _statements(role: object) -> tuple[Statement, ...]:
    inline: Mapping[str, str] = role.policies  # type: ignore[attr-defined] # moto is untyped
    managed = [policy.document for policy in role.managed_policies.values()]  # type: ignore[attr-defined]
    return tuple(statement for text in [*inline.values(), *managed] for statement in parse(text))
