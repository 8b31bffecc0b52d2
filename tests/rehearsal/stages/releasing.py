"""The steps that change a running environment: a release of new images, and a rotation of the passwords."""

import json
from typing import Any

from tests.rehearsal.stage import SkippedError, Stage, StepFailedError
from tests.rehearsal.stages.batches import answers, ingest, new_file, service
from tests.rehearsal.stages.changing import change, under_load
from tests.rehearsal.stages.making import build, sign_in

# Resources that a release of other images may replace: revisions; the old ones are kept.
RELEASED = ("aws_ecs_task_definition.api", "aws_batch_job_definition.task*")
LOGINS = ("loader", "reader")
ROTATION_SECONDS = 600.0

# The jq filter of docs/deploy.md: the newest revision, with another image.
WITH_IMAGE = """.jobDefinitions | max_by(.revision) | .containerProperties.image = $image
  | {jobDefinitionName, type, parameters, containerProperties, retryStrategy, timeout, platformCapabilities,
     propagateTags, tags} | with_entries(select(.value != null))"""


def release(stage: Stage) -> dict[str, Any]:
    """Release other images while a batch is running and requests arrive: migrate with the new image, plan, apply."""
    commit = stage.progress.values["commit"]
    sign_in(stage)
    build(stage, f"rehearsal-{commit[:12]}-{stage.options.workspace}-next")
    return change(stage, may=RELEASED, stays=("aws_rds_*", "aws_db_*"), before=lambda: _migrate(stage))


def _migrate(stage: Stage) -> None:
    """Register a revision of the migration with the new image, and run it in the current environment."""
    name = f"{stage.parameter('job-prefix')}-migrate"
    described = stage.runner.run(
        "aws", "batch", "describe-job-definitions", "--job-definition-name", name, "--status", "ACTIVE",
        "--output", "json",
    ).out  # fmt: skip
    image = str(stage.progress.values["loader_image"])
    text = stage.runner.run("jq", "--arg", "image", image, WITH_IMAGE, given=described).out
    file = stage.options.folder.resolve() / "migrate.json"
    file.write_text(text, encoding="utf-8")
    registered = stage.runner.run(
        "aws", "batch", "register-job-definition", "--cli-input-json", f"file://{file}", "--output", "json"
    ).out
    stage.progress.definitions.append(json.loads(registered)["jobDefinitionArn"])
    stage.progress.record_creation("job definitions")
    stage.ratesflow("migrate")


def rotation(stage: Stage) -> dict[str, Any]:
    """Rotate the passwords of loader and API under load; then load a batch, redeploy the API, and send a request."""
    for login in LOGINS:
        _can_rotate(stage, login)
    with under_load(stage) as figures:
        for login in LOGINS:
            rotate(stage, login)
    ingest(stage, new_file(stage, "rotated", stage.options.rows))
    return figures | {"logins": list(LOGINS)} | _restart_api(stage) | answers(stage)


def _can_rotate(stage: Stage, login: str) -> None:
    secrets = stage.client("secretsmanager")
    name = f"ratesflow/{stage.options.workspace}/{login}"
    try:
        rotates = secrets.describe_secret(SecretId=name).get(
            "RotationEnabled", False
        )  # absent until rotation is enabled once
    except secrets.exceptions.ResourceNotFoundException:
        rotates = None
    if not rotates:
        reason = "there is no such secret" if rotates is None else "its rotation is off (`rotation` of its variables)"
        raise SkippedError(f"the secret {name} cannot be rotated here: {reason}")


def rotate(stage: Stage, login: str, seconds: float = ROTATION_SECONDS) -> None:
    """Rotate a login's secret and wait until the rotation has finished.

    Raises SkippedError if it cannot be rotated, StepFailedError after the timeout.
    """
    _can_rotate(stage, login)
    secrets = stage.client("secretsmanager")
    name = f"ratesflow/{stage.options.workspace}/{login}"
    before = _stages(secrets, name)
    stage.runner.run("aws", "secretsmanager", "rotate-secret", "--secret-id", name)

    def rotated() -> bool:
        now = _stages(secrets, name)
        return now["AWSCURRENT"] != before["AWSCURRENT"] and now.get("AWSPENDING") in (None, now["AWSCURRENT"])

    try:
        stage.wait(f"the rotation of {name}", rotated, seconds)
    except StepFailedError as error:
        log = f"/aws/lambda/{stage.name}-rotation"
        raise StepFailedError(f"{error}: read `aws logs tail {log} --since 15m`") from error


def _stages(secrets: Any, name: str) -> dict[str, str]:
    """Return the version of each stage."""
    versions = secrets.describe_secret(SecretId=name)["VersionIdsToStages"]
    return {stage: version for version, stages in versions.items() for stage in stages}


def _restart_api(stage: Stage) -> dict[str, Any]:
    """Redeploy the API, which then uses the rotated password; do nothing if ECS does not run it."""
    try:
        service(stage)
    except SkippedError as error:
        return {"API redeployed": f"no: {error}"}
    stage.runner.run(
        "aws", "ecs", "update-service", "--cluster", stage.name, "--service", "api", "--force-new-deployment"
    )
    service(stage)
    return {"API redeployed": "yes"}
