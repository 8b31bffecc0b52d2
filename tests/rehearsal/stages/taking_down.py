"""Removes what a rehearsal created, in order, and lists the commands for what it could not remove."""

import json
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from tests.rehearsal.runner import CommandError
from tests.rehearsal.stage import Stage
from tests.rehearsal.stages.making import initialize, state_bucket

# Created by services, not by Terraform, while the environment existed.
LOG_GROUPS = (
    "/aws/lambda/{name}-",
    "/aws/ecs/containerinsights/{name}/",
    "/aws/rds/cluster/{name}",
    "/aws/rds/instance/{name}",
)


@dataclass(frozen=True)
class CleanUpStep:
    """One step of the clean-up, with the same commands for manual use; the progress has its name while it is needed."""

    name: str
    does: Callable[[Stage], None]
    manual: Callable[[Stage], list[str]]
    after: str | None = None


def remaining(stage: Stage) -> list[tuple[CleanUpStep, list[str]]]:
    """Return the clean-up steps that remain, with the commands of each."""
    return [(act, act.manual(stage)) for act in CLEAN_UP_STEPS if act.name in stage.progress.created]


def take_down(stage: Stage) -> list[str]:
    """Remove everything that was created; return the failures, one sentence each.

    If a step fails, the others are still tried, except those that depend on it.
    """
    failed: dict[str, str] = {}
    for act in CLEAN_UP_STEPS:
        if act.name not in stage.progress.created:
            continue
        if act.after in failed:
            failed[act.name] = f"{act.name}: not tried, since {act.after} could not be removed"
            continue
        stage.print_line(f"clean-up: {act.name} …")
        try:
            act.does(stage)
        except (CommandError, BotoCoreError, ClientError, OSError) as error:
            failed[act.name] = f"{act.name}: {error}"
            continue
        except Exception as error:  # noqa: BLE001 after any error, the others are tried
            failed[act.name] = f"{act.name}: {type(error).__name__}: {error}"
            continue
        stage.progress.record_removal(act.name)
    return list(failed.values())


def _stop_executions(stage: Stage) -> None:
    """Stop running executions, which use the compute environments. Others end with the environment."""
    with suppress(CommandError, ValueError, IndexError):
        running = json.loads(stage.ratesflow("executions", "--json").out.strip().splitlines()[-1])
        for each in running:
            if each["outcome"] == "running":
                stage.ratesflow("stop", each["batch_id"], codes=(0, 1, 5, 75))


def _destroy(stage: Stage) -> None:
    initialize(stage)
    stage.terraform("destroy", "-auto-approve", "-lock-timeout=10m", stage.var_file)


def _delete_workspace(stage: Stage) -> None:
    stage.terraform("workspace", "select", "default")
    stage.terraform("workspace", "delete", stage.options.workspace)


def _deregister(stage: Stage) -> None:
    batch = stage.client("batch")
    for arn in stage.progress.definitions:
        batch.deregister_job_definition(jobDefinition=arn)


def _task_definitions(stage: Stage) -> None:
    """Deregister the API's revisions, which Terraform keeps for a rollback."""
    ecs = stage.client("ecs")
    pages = ecs.get_paginator("list_task_definitions").paginate(familyPrefix=f"{stage.name}-api", status="ACTIVE")
    for arn in [arn for page in pages for arn in page["taskDefinitionArns"]]:
        ecs.deregister_task_definition(taskDefinition=arn)


def _delete_images(stage: Stage) -> None:
    ecr = stage.client("ecr")
    for image in ("loader", "api"):
        tags = [{"imageTag": tag} for tag in stage.progress.tags]
        ecr.batch_delete_image(repositoryName=f"ratesflow/{image}", imageIds=tags)


def _delete_log_groups(stage: Stage) -> None:
    logs = stage.client("logs")
    for pattern in LOG_GROUPS:
        pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=pattern.format(name=stage.name))
        for name in [each["logGroupName"] for page in pages for each in page["logGroups"]]:
            logs.delete_log_group(logGroupName=name)


def _terraform_manual(stage: Stage, *commands: str) -> list[str]:
    region = stage.options.region
    return [
        *(f"export {name}={shlex.quote(value)}" for name, value in sorted(stage.given.items())),
        f"export AWS_DEFAULT_REGION={region} TF_VAR_region={region}",
        f"terraform -chdir=terraform init -reconfigure -backend-config=bucket={state_bucket(stage)} "
        f"-backend-config=region={region}",
        *(f"terraform -chdir=terraform {command}" for command in commands),
    ]


def _destroy_manual(stage: Stage) -> list[str]:
    return _terraform_manual(stage, f"workspace select {stage.options.workspace}", f"destroy {stage.var_file}")


def _workspace_manual(stage: Stage) -> list[str]:
    return _terraform_manual(stage, "workspace select default", f"workspace delete {stage.options.workspace}")


def _definitions_manual(stage: Stage) -> list[str]:
    return [f"aws batch deregister-job-definition --job-definition {arn}" for arn in stage.progress.definitions]


def _images_manual(stage: Stage) -> list[str]:
    tags = " ".join(f"imageTag={tag}" for tag in stage.progress.tags)
    return [
        f"aws ecr batch-delete-image --repository-name ratesflow/{image} --image-ids {tags}"
        for image in ("loader", "api")
    ]


def _task_definitions_manual(stage: Stage) -> list[str]:
    return [
        f"aws ecs list-task-definitions --family-prefix {stage.name}-api",
        "aws ecs deregister-task-definition --task-definition ARN   # each of them",
    ]


def _log_groups_manual(stage: Stage) -> list[str]:
    return [
        f"aws logs describe-log-groups --log-group-name-prefix {pattern.format(name=stage.name)}"
        for pattern in LOG_GROUPS
    ] + ["aws logs delete-log-group --log-group-name NAME   # each of them"]


CLEAN_UP_STEPS = (
    CleanUpStep("executions", _stop_executions, lambda _: []),
    CleanUpStep("environment", _destroy, _destroy_manual),
    CleanUpStep("workspace", _delete_workspace, _workspace_manual, after="environment"),
    CleanUpStep("job definitions", _deregister, _definitions_manual),
    CleanUpStep("task definitions", _task_definitions, _task_definitions_manual),
    CleanUpStep("log groups", _delete_log_groups, _log_groups_manual, after="environment"),
    CleanUpStep("images", _delete_images, _images_manual, after="environment"),
)
