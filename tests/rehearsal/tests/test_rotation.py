"""Rotating a secret, with the embedded Secrets Manager, which ends a rotation by itself, in place of AWS's function."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.rehearsal.conftest import Makes
from tests.rehearsal.stage import SkippedError, Stage
from tests.rehearsal.stages.releasing import rotate

NAME = "ratesflow/sandbox/loader"


@pytest.fixture
def made(stage: Makes) -> Stage:
    """A stage that looks often."""
    return stage()


@pytest.fixture
def secret(made: Stage) -> Iterator[Any]:
    """A secret of the loader's name, whose rotation is off."""
    secrets = made.client("secretsmanager")
    secrets.create_secret(Name=NAME, SecretString="a password")
    yield secrets
    secrets.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)


def current(secrets: Any) -> str:
    """Return the version that is the current one."""
    versions = secrets.describe_secret(SecretId=NAME)["VersionIdsToStages"]
    return next(str(version) for version, stages in versions.items() if "AWSCURRENT" in stages)


def test_a_rotation_is_waited_for(made: Stage, secret: Any) -> None:
    """It is over when another version is the current one; before rotation is on there is nothing to wait for."""
    with pytest.raises(SkippedError, match="cannot be rotated here: its rotation is off"):
        rotate(made, "loader")
    secret.rotate_secret(SecretId=NAME, RotationRules={"AutomaticallyAfterDays": 30})
    before = current(secret)
    rotate(made, "loader", 60)
    assert current(secret) != before


def test_what_is_not_there_is_skipped(made: Stage) -> None:
    """A secret that is not there is no fault of what was rehearsed."""
    with pytest.raises(SkippedError, match=f"the secret {NAME} cannot be rotated here: there is no such secret"):
        rotate(made, "loader")
