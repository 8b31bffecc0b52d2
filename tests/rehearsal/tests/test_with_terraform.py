"""The sandbox and its flips as Terraform itself plans them, where RATESFLOW_TERRAFORM_CHECK names a command that can.

Its stand-ins for the providers know which attributes there are, and of those that force a replacement only the usual
ones: what passes here may still be a replacement on AWS, which the rehearsal then refuses to apply.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rehearsal.plans import changes_of, objections
from tests.rehearsal.settings import TERRAFORM, values_of
from tests.rehearsal.stages.flips import FLIPS, Flip, skipped
from tests.rehearsal.stages.releasing import RELEASED
from tests.terraform.test_checks import GIVEN, check, needs_check

VARIABLES = [f"-var={value}" for value in GIVEN[1::2]]
pytestmark = [needs_check, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def kept() -> Iterator[Path]:
    """A copy of terraform/ with the sandbox applied, whose folder ends with these tests."""
    file = TERRAFORM / "environments/sandbox.tfvars"
    status, said = check("--quick", "--keep", "--no-tests", *GIVEN, "--workspace", "sandbox", "--var-file", str(file))
    assert status == 0, said
    found = re.search(r"kept: (\S+)", said)
    assert found, said
    folder = Path(found[1])
    yield folder
    shutil.rmtree(folder)


def terraform(kept: Path, *arguments: str) -> str:
    """Run Terraform on the copy."""
    environ = {"TF_CLI_CONFIG_FILE": str(kept / "terraformrc"), "TF_OFFLINE_ROOT": str(kept / "work")}
    command = ["terraform", f"-chdir={kept / 'work/terraform'}", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | environ | {"CHECKPOINT_DISABLE": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def changes(kept: Path, *variables: str) -> dict[str, tuple[str, ...]]:
    """Plan with further variables; return what would be done."""
    given = [*VARIABLES, *(f"-var={each}" for each in variables)]
    terraform(kept, "plan", "-var-file=environments/sandbox.tfvars", *given, "-out=rehearsed.tfplan")
    plan: dict[str, Any] = json.loads(terraform(kept, "show", "-json", "rehearsed.tfplan"))
    return changes_of(plan)


def test_a_second_plan_is_empty(kept: Path) -> None:
    """What was applied is what the files say; its address can be read."""
    assert changes(kept) == {}
    assert terraform(kept, "output", "-raw", "api_url").startswith("http")


def test_a_release_replaces_revisions_alone(kept: Path) -> None:
    """Other images change task and job definitions, and nothing that holds data or serves requests."""
    images = [f"{name}_image=r/{name}@sha256:{'c' * 64}" for name in ("loader", "api")]
    found = changes(kept, *images)
    assert found
    assert objections(found, RELEASED, stays=("aws_rds_*", "aws_db_*")) == []


@pytest.mark.parametrize("flip", [pytest.param(each, id=each.variable) for each in FLIPS])
def test_a_flip_does_what_it_may(kept: Path, flip: Flip) -> None:
    """A switch that is flipped changes something, and nothing beyond what its line in the table says."""
    if reason := skipped(flip, values_of("sandbox")):
        pytest.skip(reason)
    found = changes(kept, f"{flip.variable}={flip.value}", *flip.also)
    assert found
    assert objections(found, flip.may, flip.stays) == []
