"""The pipeline's scripts, run with the `aws` command against an embedded stack in place of AWS."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ratesflow.local.deploy import CREDENTIALS
from tests.ci.pipeline import ROOT, job
from tests.local.conftest import Stack, new_stack

IMAGE = "123456789012.dkr.ecr.eu-central-2.amazonaws.com/ratesflow-loader@sha256:" + "0" * 64
SHOW = '\necho "migrated=$migrated"\n'
MANIFEST = {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"}
# A first set-up that creates the bucket and then fails.
HALF_WAY = """
terraform() {
  echo "terraform $*"
  case "$*" in
    *-target=aws_s3_bucket.state*) aws s3 mb "s3://$state_bucket" && echo bucket >> terraform.tfstate ;;
    import*) echo imported >> terraform.tfstate ;;
    apply*) echo half >> terraform.tfstate; return 3 ;;
  esac
}
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A separate stack, since these tests register job definitions."""
    found = new_stack(tmp_path_factory.mktemp("ci") / "home")
    found.up()
    yield found
    found.run("down")


def run(
    stack: Stack, text: str, folder: Path, code: int | None = 0, **environ: str
) -> "subprocess.CompletedProcess[str]":
    """Run a script in a plain shell, with the variables that the runner and the project set."""
    given = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RATESFLOW_"))}
    given |= CREDENTIALS | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AWS_ENDPOINT_URL": stack.environment["AWS_ENDPOINT_URL"],
        "AWS_PAGER": "",
        "CI_JOB_ID": f"job-{len(list(folder.iterdir()))}",
        "CI_PIPELINE_ID": "1",
        "MIGRATE_POLL_SECONDS": "0.2",
    }
    done = subprocess.run(
        ["sh", "-c", text], cwd=folder, env=given | environ, capture_output=True, text=True, timeout=120
    )
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done


def migration() -> str:
    """Return the migration script of `terraform-apply`."""
    if not shutil.which("jq"):
        pytest.skip("install jq (on Debian: apt-get install jq)")
    return "\n".join(["set -e", *job(".migrate")["script"]]) + "\n"


def definitions(stack: Stack) -> list[dict[str, Any]]:
    """Return the revisions of the migration's job definition, oldest first."""
    found = stack.aws("batch").describe_job_definitions(jobDefinitionName="ratesflow-migrate", status="ACTIVE")
    return sorted(found["jobDefinitions"], key=lambda each: each["revision"])


def publish(stack: Stack, workspace: str) -> None:
    """Publish the parameters that the script reads, as Terraform does."""
    for name, variable in (("job-prefix", "RATESFLOW_JOB_PREFIX"), ("job-queue", "RATESFLOW_JOB_QUEUE")):
        stack.aws("ssm").put_parameter(
            Name=f"/ratesflow/{workspace}/{name}", Value=stack.environment[variable], Type="String", Overwrite=True
        )


def documented_marks() -> str:
    """Return the loop in docs/deploy.md that tags images manually."""
    text = (ROOT / "docs/deploy.md").read_text()
    (loop,) = re.findall(r'^\$ (for image in "\$TF_VAR_loader_image".*\n(?:> .*\n)+)', text, re.M)
    return "set -e\n" + re.sub(r"^> ", "", loop, flags=re.M)


def test_new_image_migrates_in_the_current_environment(stack: Stack, tmp_path: Path) -> None:
    """A revision that differs only in its image is registered and run, and the old ones are kept."""
    publish(stack, "testing")
    *_, before = definitions(stack)
    done = run(stack, migration() + SHOW, tmp_path, WORKSPACE="testing", LOADER_IMAGE=IMAGE)
    assert done.stdout.endswith("migrated=yes\n")
    *kept, after = definitions(stack)
    assert before in kept
    assert after["containerProperties"]["image"] == IMAGE
    same = [
        {name: value for name, value in each["containerProperties"].items() if name != "image"}
        for each in (before, after)
    ]
    assert same[0] == same[1]
    for field in ("parameters", "retryStrategy", "timeout", "type"):
        assert before[field] == after[field]
    queue = stack.environment["RATESFLOW_JOB_QUEUE"]
    jobs = stack.aws("batch").list_jobs(jobQueue=queue, filters=[{"name": "JOB_NAME", "values": ["migrate-job-0"]}])
    assert [each["status"] for each in jobs["jobSummaryList"]] == ["SUCCEEDED"]
    result = stack.aws("s3").get_object(
        Bucket=stack.environment["RATESFLOW_BUCKET"], Key="results/migrate-job-0/migrate.json"
    )
    assert json.loads(result["Body"].read())["outcome"] == "done"


def test_failed_migration_prevents_the_apply(stack: Stack, tmp_path: Path) -> None:
    """After a failed migration the script exits with the job's reason before the apply."""
    publish(stack, "testing")
    *_, good = definitions(stack)
    bad = {"image": "any", "command": ["false"], "resourceRequirements": [{"type": "VCPU", "value": "1"},
           {"type": "MEMORY", "value": "128"}]}  # fmt: skip
    registered = stack.aws("batch").register_job_definition(
        jobDefinitionName="ratesflow-migrate", type="container", containerProperties=bad
    )
    try:
        text = migration() + "\necho applied\n"
        done = run(stack, text, tmp_path, code=1, WORKSPACE="testing", LOADER_IMAGE=IMAGE)
    finally:
        for each in definitions(stack):
            if each["revision"] >= registered["revision"]:
                stack.aws("batch").deregister_job_definition(jobDefinition=each["jobDefinitionArn"])
    assert "applied" not in done.stdout
    assert "exited" in done.stdout.lower() or "exit" in done.stdout.lower()
    assert definitions(stack)[-1] == good


def test_first_deployment_skips_the_migration(stack: Stack, tmp_path: Path) -> None:
    """In an environment without published parameters or jobs the migration is skipped."""
    count = len(definitions(stack))
    stack.aws("ssm").put_parameter(Name="/ratesflow/half/job-prefix", Value="half", Type="String")
    for workspace in ("empty", "half"):
        done = run(stack, migration() + SHOW, tmp_path, WORKSPACE=workspace, LOADER_IMAGE=IMAGE)
        assert done.stdout.endswith("migrated=\n")
    assert len(definitions(stack)) == count


def test_rolled_back_release_fails_the_job(stack: Stack, tmp_path: Path) -> None:
    """The script waits for the service, and fails if it does not run the applied tasks."""
    ecs = stack.aws("ecs")
    ecs.create_cluster(clusterName="ratesflow-testing")
    first, second = (
        ecs.register_task_definition(
            family="api", containerDefinitions=[{"name": "api", "image": image, "memory": 128}]
        )
        for image in ("one", "two")
    )
    # The desired count is 0, since the stack runs no containers.
    ecs.create_service(cluster="ratesflow-testing", serviceName="api", taskDefinition="api:2", desiredCount=0)
    text = "\n".join(["set -e", 'terraform() { echo "$APPLIED"; }', *job(".deployed")["script"], "echo deployed"])
    for revision, code in ((second, 0), (first, 1)):
        applied = revision["taskDefinition"]["taskDefinitionArn"]
        done = run(stack, text, tmp_path, code=code, WORKSPACE="testing", APPLIED=applied)
        assert ("deployed" in done.stdout) is (code == 0)
    assert "did not become healthy" in done.stderr


def test_role_replaces_stored_keys(stack: Stack, tmp_path: Path) -> None:
    """With a role, the SDKs get the token in a private file; without one, the stored keys are used."""
    text = "\n".join(["set -e", *job(".aws")["before_script"]]) + "\nenv\nls -l $AWS_WEB_IDENTITY_TOKEN_FILE\n"
    role = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/deploy", "AWS_ID_TOKEN": "a.b.c"}
    done = run(stack, text, tmp_path, **role)
    assert "AWS_ACCESS_KEY_ID" not in done.stdout
    assert "\n-rw-------" in done.stdout
    by_keys = run(stack, text, tmp_path)
    assert "AWS_ACCESS_KEY_ID=local" in by_keys.stdout
    assert "AWS_WEB_IDENTITY" not in by_keys.stdout
    for output in (done.stdout, by_keys.stdout):
        assert "registry 123456789012.dkr.ecr.eu-central-2.amazonaws.com" in output
    own = run(stack, text, tmp_path, DOCKER_REGISTRY="registry.example", TF_STATE_BUCKET="states")
    assert "registry registry.example, state bucket states" in own.stdout


def test_job_assumes_the_role_of_its_environment(stack: Stack, tmp_path: Path) -> None:
    """The role is named by account, region and environment; a given role takes precedence; the set-up has none."""
    text = "\n".join(["set -e", *job(".aws")["before_script"]]) + '\necho "role=$AWS_ROLE_ARN"\n'
    given = {"AWS_ACCOUNT_ID": "123456789012", "AWS_ID_TOKEN": "a.b.c", "WORKSPACE": "staging"}
    for name, expected in (
        ("terraform-apply", "staging"),
        ("terraform-plan", "staging"),
        ("package-and-publish", "images"),
    ):
        role = job(name)["variables"]["CI_ROLE"].replace("$WORKSPACE", given["WORKSPACE"])
        done = run(stack, text, tmp_path, CI_ROLE=role, **given)
        assert done.stdout.endswith(f"role=arn:aws:iam::123456789012:role/ratesflow-ci-eu-central-2-{expected}\n")
        own = run(stack, text, tmp_path, CI_ROLE=role, AWS_ROLE_ARN="arn:aws:iam::123456789012:role/own", **given)
        assert own.stdout.endswith("role=arn:aws:iam::123456789012:role/own\n")
    assert "CI_ROLE" not in job("pre-infra-setup")["variables"]
    assert run(stack, text, tmp_path, **given).stdout.endswith("role=\n")


def test_deployed_images_are_tagged(stack: Stack, tmp_path: Path) -> None:
    """Both images get the environment's tag, also when the job runs twice; a missing image is reported."""
    ecr = stack.aws("ecr")
    given = {"WORKSPACE": "testing"}
    for name in ("loader", "api"):
        ecr.create_repository(repositoryName=f"ratesflow/{name}", imageTagMutability="IMMUTABLE")
        manifest = json.dumps(MANIFEST | {"config": {"digest": name}}, indent=3)  # as Docker formats it
        pushed = ecr.put_image(repositoryName=f"ratesflow/{name}", imageManifest=manifest, imageTag="0123abc")
        digest = pushed["image"]["imageId"]["imageDigest"]
        registry = "123456789012.dkr.ecr.eu-central-2.amazonaws.com"
        given[f"{name.upper()}_IMAGE"] = f"{registry}/ratesflow/{name}@{digest}"
    text = "\n".join(["set -e", *job(".mark")["script"], "echo marked"])
    for _ in range(2):
        assert run(stack, text, tmp_path, **given).stdout.endswith("marked\n")
    for name in ("loader", "api"):
        (image,) = ecr.describe_images(repositoryName=f"ratesflow/{name}")["imageDetails"]
        assert sorted(image["imageTags"]) == ["0123abc", "deployed-testing-1"]
    by_hand = given | {f"TF_VAR_{name}_image": given[f"{name.upper()}_IMAGE"] for name in ("loader", "api")}
    run(stack, documented_marks(), tmp_path, **by_hand)
    for name in ("loader", "api"):
        (image,) = ecr.describe_images(repositoryName=f"ratesflow/{name}")["imageDetails"]
        assert len([tag for tag in image["imageTags"] if re.fullmatch(r"deployed-dev-\d+", tag)]) == 1
    lost = given | {"API_IMAGE": f"{given['API_IMAGE'].partition('@')[0]}@sha256:{'0' * 64}", "CI_PIPELINE_ID": "2"}
    done = run(stack, text, tmp_path, code=1, **lost)
    assert "marked" not in done.stdout
    assert "builds it" in done.stderr


def test_failed_set_up_keeps_its_state(stack: Stack, tmp_path: Path) -> None:
    """The state of a failed set-up is stored in the bucket, the next one continues from it, and both fail."""
    (tmp_path / "terraform/pre-infra").mkdir(parents=True)
    given = {"state_bucket": "ratesflow-state-of-ci", "AWS_DEFAULT_REGION": "eu-central-2"}
    text = "\n".join(["set -e", HALF_WAY, *job("pre-infra-setup")["script"]])
    s3 = stack.aws("s3")

    def state() -> str:
        body: bytes = s3.get_object(Bucket=given["state_bucket"], Key="pre-infra.tfstate")["Body"].read()
        return body.decode()

    local = tmp_path / "terraform/pre-infra/terraform.tfstate"
    for expected in ("bucket\nhalf\n", "bucket\nhalf\nhalf\n"):
        run(stack, text, tmp_path, code=3, **given)
        assert state() == expected
        local.unlink()
    s3.delete_object(Bucket=given["state_bucket"], Key="pre-infra.tfstate")  # simulates a lost copy
    run(stack, text, tmp_path, code=3, **given)
    assert state() == "imported\nhalf\n"
