"""Waiting for a rotation, with the embedded Secrets Manager and a thread in place of AWS's own function."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.rehearsal.conftest import Makes
from tests.rehearsal.releasing import rotate
from tests.rehearsal.stage import DoesNotHoldError, SkippedError, Stage

NAME = "ratesflow/sandbox/loader"


@pytest.fixture
def made(stage: Makes) -> Stage:
    """A stage that looks often."""
    return stage()


@pytest.fixture
def secret(made: Stage) -> Iterator[Any]:
    """A secret that rotates; as after a real rotation no version is pending."""
    secrets = made.client("secretsmanager")
    secrets.create_secret(Name=NAME, SecretString="a password")
    secrets.rotate_secret(SecretId=NAME, RotationRules={"AutomaticallyAfterDays": 30})
    end_rotation(secrets)
    yield secrets
    secrets.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)


def end_rotation(secrets: Any) -> bool:
    """Do what the function does last: the pending version becomes the current one. False when none is pending."""
    versions = secrets.describe_secret(SecretId=NAME)["VersionIdsToStages"]
    found = {stage: version for version, stages in versions.items() for stage in stages}
    if "AWSPENDING" not in found:
        return False
    pending, current = found["AWSPENDING"], found["AWSCURRENT"]
    secrets.update_secret_version_stage(
        SecretId=NAME, VersionStage="AWSCURRENT", MoveToVersionId=pending, RemoveFromVersionId=current
    )
    secrets.update_secret_version_stage(SecretId=NAME, VersionStage="AWSPENDING", RemoveFromVersionId=pending)
    return True


def test_a_rotation_is_waited_for(made: Stage, secret: Any) -> None:
    """It is over when another version is the current one, and none is pending."""
    ended = threading.Event()

    def function() -> None:
        while not ended.wait(0.05):
            if end_rotation(secret):
                ended.set()

    thread = threading.Thread(target=function)
    thread.start()
    try:
        rotate(made, "loader", 60)
        assert ended.is_set()
    finally:
        ended.set()
        thread.join()


def test_a_rotation_that_does_not_end_says_where_to_read(made: Stage, secret: Any) -> None:
    """A version that stays pending has not rotated; the log of the function is named."""
    with pytest.raises(
        DoesNotHoldError, match=r"in vain for 1 s: read `aws logs tail /aws/lambda/ratesflow-sandbox-ro"
    ):
        rotate(made, "loader", 1)


def test_what_does_not_rotate_is_skipped(made: Stage) -> None:
    """A secret that is not there, or whose rotation is off, is no fault of what was rehearsed."""
    with pytest.raises(SkippedError, match=f"the secret {NAME} cannot be rotated here: there is no such secret"):
        rotate(made, "loader", 1)
