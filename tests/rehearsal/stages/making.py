"""The steps that create an environment, as in docs/deploy.md: pre-infra, roles, images, plan, apply."""

from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from tests.rehearsal.plans import changes_of, planned
from tests.rehearsal.stage import Stage, StepFailedError
from tests.rehearsal.stages.preflight import builder

AUTHORITIES = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
CREATED_BY_APPLY = (
    "executions",
    "environment",
    "task definitions",
    "log groups",
)  # see taking_down.py
PLATFORM = "linux/amd64"  # of the tasks in terraform/, whatever this machine is

# Services create these roles at their first use in an account, possibly too late for Terraform.
ROLES = {
    "ecs.amazonaws.com": "AWSServiceRoleForECS",
    "batch.amazonaws.com": "AWSServiceRoleForBatch",
    "rds.amazonaws.com": "AWSServiceRoleForRDS",
    "elasticloadbalancing.amazonaws.com": "AWSServiceRoleForElasticLoadBalancing",
    "ecs.application-autoscaling.amazonaws.com": "AWSServiceRoleForApplicationAutoScaling_ECSService",
}


def state_bucket(stage: Stage) -> str:
    """Return the name of the state bucket."""
    return f"ratesflow-state-{stage.progress.values['account']}-{stage.options.region}"


def registry(stage: Stage) -> str:
    """Return the host of the account's registry."""
    return f"{stage.progress.values['account']}.dkr.ecr.{stage.options.region}.amazonaws.com"


def pre_infra(stage: Stage) -> dict[str, Any]:
    """Create the state bucket and the registry, or find them: they belong to the account, and remain."""
    bucket = state_bucket(stage)
    exists = bucket in {each["Name"] for each in stage.client("s3").list_buckets()["Buckets"]}
    state = stage.options.folder / "pre-infra.tfstate"
    if exists:
        stage.runner.run("aws", "s3", "cp", f"s3://{bucket}/pre-infra.tfstate", str(state))
    stage.terraform("init", where="terraform/pre-infra")
    region = f"-var=region={stage.options.region}"
    try:
        stage.terraform("apply", "-auto-approve", f"-state={state}", region, where="terraform/pre-infra")
    finally:
        # Also after a failure: the next run must know what was created.
        if state.exists():
            stage.runner.run("aws", "s3", "cp", str(state), f"s3://{bucket}/pre-infra.tfstate")
    return {"existed": exists, "bucket": bucket}


def roles(stage: Stage) -> dict[str, Any]:
    """Create the service-linked roles that services create at their first use, if the account lacks them."""
    iam = stage.client("iam")
    created = []
    for service, name in ROLES.items():
        try:
            iam.get_role(RoleName=name)
        except iam.exceptions.NoSuchEntityException:
            if _create(iam, service):
                created.append(name)
    return {"created": created}


def _create(iam: Any, service: str) -> bool:
    """Create a service-linked role; False if one exists with another name, as in older partitions."""
    try:
        iam.create_service_linked_role(AWSServiceName=service)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("InvalidInput", "EntityAlreadyExists"):
            return False
        raise
    return True


def images(stage: Stage) -> dict[str, Any]:
    """Build both images of this commit, push them, and reference them by their digests."""
    commit = stage.runner.run("git", "rev-parse", "HEAD").out.strip()
    certificates = "certificates/rds.pem"
    stage.runner.run("curl", "--fail", "--create-dirs", "--output", certificates, AUTHORITIES)
    sign_in(stage)
    stage.progress.values["commit"] = commit
    return build(stage, f"rehearsal-{commit[:12]}-{stage.options.workspace}")


def sign_in(stage: Stage) -> None:
    """Log in to the registry; the password is passed from one command to the other."""
    password = stage.runner.run("aws", "ecr", "get-login-password", secret=True).out
    host = registry(stage)
    tool = builder(stage.runner.path) or ""
    stage.runner.run(tool, "login", "--username", "AWS", "--password-stdin", host, given=password)


def build(stage: Stage, tag: str) -> dict[str, Any]:
    """Build and push both images with a tag; existing ones are reused, since tags are immutable."""
    found = {}
    for image in ("loader", "api"):
        digest = _digest(stage, image, tag) or _pushed(stage, image, tag)
        found[f"{image}_image"] = f"{registry(stage)}/ratesflow/{image}@{digest}"
    stage.progress.values |= found
    stage.progress.save()
    return {"tag": tag, **found}


def _pushed(stage: Stage, image: str, tag: str) -> str:
    tool = builder(stage.runner.path) or ""
    name = f"{registry(stage)}/ratesflow/{image}:{tag}"
    # Docker would push an index with a provenance attestation; podman's default format has no HEALTHCHECK.
    form = ["--provenance=false"] if tool == "docker" else ["--format", "docker"]
    stage.runner.run(
        tool, "build", "--platform", PLATFORM, *form, "--file", f"Dockerfile.{image}",
        "--build-arg", f"REVISION={tag}", "--tag", name, ".",
    )  # fmt: skip
    if tag not in stage.progress.tags:
        stage.progress.tags.append(tag)
    stage.progress.record_creation("images")
    stage.runner.run(tool, "push", name)
    digest = _digest(stage, image, tag)
    if digest is None:
        raise StepFailedError(f"{name} was pushed, but the registry does not have its tag")
    return digest


def _digest(stage: Stage, image: str, tag: str) -> str | None:
    ecr = stage.client("ecr")
    try:
        found = ecr.describe_images(repositoryName=f"ratesflow/{image}", imageIds=[{"imageTag": tag}])
    except ecr.exceptions.ImageNotFoundException:
        return None
    return str(found["imageDetails"][0]["imageDigest"])


def initialize(stage: Stage) -> None:
    """Initialize Terraform with the environment's state and workspace."""
    bucket = f"-backend-config=bucket={state_bucket(stage)}"
    stage.terraform("init", "-reconfigure", bucket, f"-backend-config=region={stage.options.region}")
    stage.progress.record_creation("workspace")
    stage.terraform("workspace", "select", "-or-create", stage.options.workspace)


def plan(stage: Stage) -> dict[str, Any]:
    """Plan the environment in its own workspace: everything is created, and nothing else changes."""
    initialize(stage)
    changes = changes_of(planned(stage, plan_file(stage)))
    others = {address: actions for address, actions in changes.items() if actions != ("create",)}
    if others:
        raise StepFailedError(f"the plan of a new environment changes existing resources: {sorted(others)}")
    return {"to create": len(changes)}


def apply(stage: Stage) -> dict[str, Any]:
    """Apply exactly this plan."""
    for mark in CREATED_BY_APPLY:
        stage.progress.record_creation(mark)
    done = stage.terraform("apply", "-lock-timeout=5m", str(plan_file(stage)))
    return {"seconds of apply": round(done.seconds, 1)}


def plan_file(stage: Stage) -> Path:
    """Return the path of the plan file."""
    return stage.options.folder.resolve() / f"{stage.options.workspace}.tfplan"
