"""Rotating a secret with the embedded Secrets Manager, which completes a rotation by itself."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.rehearsal.conftest import MakeStage
from tests.rehearsal.stage import SkippedError, Stage
from tests.rehearsal.stages.releasing import rotate

NAME = "ratesflow/sandbox/loader"


@pytest.fixture
def made(stage: MakeStage) -> Stage:
    """A stage with short poll intervals."""
    return stage()


@pytest.fixture
def secret(made: Stage) -> Iterator[Any]:
    """A secret with the loader's name and without rotation."""
    secrets = made.client("secretsmanager")
    secrets.create_secret(Name=NAME, SecretString="a password")
    yield secrets
    secrets.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)


def current(secrets: Any) -> str:
    """Return the current version."""
    versions = secrets.describe_secret(SecretId=NAME)["VersionIdsToStages"]
    return next(str(version) for version, stages in versions.items() if "AWSCURRENT" in stages)


def test_rotation_is_waited_for(made: Stage, secret: Any) -> None:
    """`rotate` returns when another version is current; without rotation the step is skipped."""
    with pytest.raises(SkippedError, match="cannot be rotated here: its rotation is off"):
        rotate(made, "loader")
    secret.rotate_secret(SecretId=NAME, RotationRules={"AutomaticallyAfterDays": 30})
    before = current(secret)
    rotate(made, "loader", 60)
    assert current(secret) != before


def test_missing_secret_is_skipped(made: Stage) -> None:
    """For a missing secret the step is skipped."""
    with pytest.raises(SkippedError, match=f"the secret {NAME} cannot be rotated here: there is no such secret"):
        rotate(made, "loader")
