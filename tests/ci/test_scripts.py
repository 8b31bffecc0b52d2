"""The pipeline's scripts at work, with the `aws` command, against an embedded stack in place of AWS."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.deploy import CREDENTIALS
from tests.ci.pipeline import job
from tests.local.conftest import Stack, new_stack

IMAGE = "123456789012.dkr.ecr.eu-central-2.amazonaws.com/ratesflow-loader@sha256:" + "0" * 64
SHOW = '\necho "migrated=$migrated"\n'


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of these tests' own: they register job definitions."""
    found = new_stack(tmp_path_factory.mktemp("ci") / "home")
    found.up()
    yield found
    found.run("down")


def run(
    stack: Stack, text: str, folder: Path, code: int | None = 0, **environ: str
) -> "subprocess.CompletedProcess[str]":
    """Run a script in a plain shell, with the variables that a runner and the project would set."""
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
    """Return the script that migrates, as `terraform-apply` has it."""
    if not shutil.which("jq"):
        pytest.skip("jq is not installed")
    return "\n".join(["set -e", *job(".migrate")["script"]]) + "\n"


def definitions(stack: Stack) -> list[dict[str, Any]]:
    """Return the revisions of the job definition that migrates, the oldest first."""
    found = stack.aws("batch").describe_job_definitions(jobDefinitionName="ratesflow-migrate", status="ACTIVE")
    return sorted(found["jobDefinitions"], key=lambda each: each["revision"])


def publish(stack: Stack, workspace: str) -> None:
    """Publish the addresses that the script reads, as Terraform does."""
    for name, variable in (("job-prefix", "RATESFLOW_JOB_PREFIX"), ("job-queue", "RATESFLOW_JOB_QUEUE")):
        stack.aws("ssm").put_parameter(
            Name=f"/ratesflow/{workspace}/{name}", Value=stack.environment[variable], Type="String", Overwrite=True
        )


def test_the_new_image_migrates_in_the_old_environment(stack: Stack, tmp_path: Path) -> None:
    """A revision is registered that differs in its image alone, it runs to its end, and the old ones stay."""
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


def test_nothing_is_applied_after_a_migration_that_failed(stack: Stack, tmp_path: Path) -> None:
    """The script ends with the job's reason, before the line that applies."""
    publish(stack, "testing")
    *_, good = definitions(stack)
    bad = {"image": "any", "command": ["false"], "resourceRequirements": [{"type": "VCPU", "value": "1"},
           {"type": "MEMORY", "value": "128"}]}  # fmt: skip
    made = stack.aws("batch").register_job_definition(
        jobDefinitionName="ratesflow-migrate", type="container", containerProperties=bad
    )
    try:
        text = migration() + "\necho applied\n"
        done = run(stack, text, tmp_path, code=1, WORKSPACE="testing", LOADER_IMAGE=IMAGE)
    finally:
        for each in definitions(stack):
            if each["revision"] >= made["revision"]:
                stack.aws("batch").deregister_job_definition(jobDefinition=each["jobDefinitionArn"])
    assert "applied" not in done.stdout
    assert "exited" in done.stdout.lower() or "exit" in done.stdout.lower()
    assert definitions(stack)[-1] == good


def test_at_the_first_deployment_there_is_nothing_to_migrate_with(stack: Stack, tmp_path: Path) -> None:
    """An environment that has published nothing, or not yet a job, is left for Terraform to make."""
    count = len(definitions(stack))
    stack.aws("ssm").put_parameter(Name="/ratesflow/half/job-prefix", Value="half", Type="String")
    for workspace in ("empty", "half"):
        done = run(stack, migration() + SHOW, tmp_path, WORKSPACE=workspace, LOADER_IMAGE=IMAGE)
        assert done.stdout.endswith("migrated=\n")
    assert len(definitions(stack)) == count


def test_a_release_that_was_undone_is_told(stack: Stack, tmp_path: Path) -> None:
    """The service is waited for; when it runs other tasks than were applied, the script says so and fails."""
    ecs = stack.aws("ecs")
    ecs.create_cluster(clusterName="ratesflow-testing")
    first, second = (
        ecs.register_task_definition(
            family="api", containerDefinitions=[{"name": "api", "image": image, "memory": 128}]
        )
        for image in ("one", "two")
    )
    # No tasks are wanted, so none are waited for: the stack runs no containers.
    ecs.create_service(cluster="ratesflow-testing", serviceName="api", taskDefinition="api:2", desiredCount=0)
    text = "\n".join(["set -e", 'terraform() { echo "$APPLIED"; }', *job(".deployed")["script"], "echo deployed"])
    for revision, code in ((second, 0), (first, 1)):
        applied = revision["taskDefinition"]["taskDefinitionArn"]
        done = run(stack, text, tmp_path, code=code, WORKSPACE="testing", APPLIED=applied)
        assert ("deployed" in done.stdout) is (code == 0)
    assert "did not become healthy" in done.stderr


def test_a_role_hides_the_stored_keys(stack: Stack, tmp_path: Path) -> None:
    """With a role the token is handed to the SDKs in a file that only its owner reads; without one keys are used."""
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
    assert "registry registry.example, states in states" in own.stdout
