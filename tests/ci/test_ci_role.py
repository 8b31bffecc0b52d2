"""The pipeline's commands with the role and policy that pre-infra creates for an environment."""

import json
from pathlib import Path

from ratesflow.local.names import ENVIRONMENT
from ratesflow.local.roles import credentials
from tests.ci.pipeline import job
from tests.ci.test_scripts import IMAGE, MANIFEST, migration, publish, run, stack
from tests.local.conftest import Stack
from tests.security.iam_figure import calls_of, granted

__all__ = ["stack"]
REGISTRY = "123456789012.dkr.ecr.eu-central-2.amazonaws.com"
# Used by Terraform itself, for its state and the cluster of the service.
OF_TERRAFORM = {"States", "DefaultState", "State", "Lock", "Service"}


def test_pipeline_needs_exactly_the_rights_of_its_role(stack: Stack, tmp_path: Path) -> None:
    """Migrating and tagging images need exactly the role's rights that are not Terraform's."""
    publish(stack, ENVIRONMENT)
    acting = {"WORKSPACE": ENVIRONMENT, **credentials("ci")}
    assert run(stack, migration() + "\necho done", tmp_path, LOADER_IMAGE=IMAGE, **acting).stdout.endswith("done\n")
    given = {}
    for name in ("loader", "api"):
        stack.aws("ecr").create_repository(repositoryName=f"ratesflow/{name}")
        manifest = json.dumps(MANIFEST | {"config": {"digest": name}})
        pushed = stack.aws("ecr").put_image(repositoryName=f"ratesflow/{name}", imageManifest=manifest, imageTag="1")
        given[f"{name.upper()}_IMAGE"] = f"{REGISTRY}/ratesflow/{name}@{pushed['image']['imageId']['imageDigest']}"
    text = "\n".join(["set -e", *job(".mark")["script"], "echo marked"])
    assert run(stack, text, tmp_path, **given, **acting).stdout.endswith("marked\n")
    calls = [call for call in calls_of(stack) if call["role"] == "ratesflow-ci"]
    assert [call for call in calls if not call["allowed"]] == []
    rights = {right[1:] for right in granted() if right[0] == "ci" and right[1] not in OF_TERRAFORM}
    rights.remove(("Migration", "batch:TagResource"))  # Terraform's definitions have tags, those here do not
    assert {(sid, call["action"]) for call in calls for sid in call["sids"]} == rights
