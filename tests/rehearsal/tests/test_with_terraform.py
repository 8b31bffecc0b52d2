"""The sandbox and its flips planned by real Terraform, if RATESFLOW_TERRAFORM_CHECK names a command that can.

Its stand-in providers know the attributes, but only some of those that force a replacement: a change that passes here
may still be a replacement on AWS, which the rehearsal then does not apply.
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
    """A copy of terraform/ with the sandbox applied, which is deleted after these tests."""
    file = TERRAFORM / "environments/sandbox.tfvars"
    status, output = check("--quick", "--keep", "--no-tests", *GIVEN, "--workspace", "sandbox", "--var-file", str(file))
    assert status == 0, output
    found = re.search(r"kept: (\S+)", output)
    assert found, output
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
    """Plan with additional variables; return the changes."""
    given = [*VARIABLES, *(f"-var={each}" for each in variables)]
    terraform(kept, "plan", "-var-file=environments/sandbox.tfvars", *given, "-out=rehearsed.tfplan")
    plan: dict[str, Any] = json.loads(terraform(kept, "show", "-json", "rehearsed.tfplan"))
    return changes_of(plan)


def test_second_plan_is_empty(kept: Path) -> None:
    """A plan after the apply is empty, and the API's URL is an output."""
    assert changes(kept) == {}
    assert terraform(kept, "output", "-raw", "api_url").startswith("http")


def test_release_replaces_only_revisions(kept: Path) -> None:
    """Other images change task and job definitions, and no resource with data or traffic."""
    images = [f"{name}_image=r/{name}@sha256:{'c' * 64}" for name in ("loader", "api")]
    found = changes(kept, *images)
    assert found
    assert objections(found, RELEASED, stays=("aws_rds_*", "aws_db_*")) == []


@pytest.mark.parametrize("flip", [pytest.param(each, id=each.variable) for each in FLIPS])
def test_flip_changes_only_what_it_may(kept: Path, flip: Flip) -> None:
    """A flip changes something, and only what its entry in the table allows."""
    if reason := skipped(flip, values_of("sandbox")):
        pytest.skip(reason)
    found = changes(kept, f"{flip.variable}={flip.value}", *flip.also)
    assert found
    assert objections(found, flip.may, flip.stays) == []
