"""Finds remaining resources of a destroyed environment by their tags, and which of them are not billed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from tests.rehearsal.stage import SkippedError, Stage, StepFailedError
from tests.rehearsal.stages.making import initialize
from tests.rehearsal.stages.taking_down import take_down

SHOWN = 20


def destroy(stage: Stage) -> dict[str, Any]:
    """Destroy the environment, its workspace, and what Terraform does not manage: revisions, log groups, images."""
    initialize(stage)
    if failed := take_down(stage):
        raise StepFailedError("; ".join(failed))
    return {}


def nothing_left(stage: Stage) -> dict[str, Any]:
    """Check that nothing has the environment's tag, except what AWS keeps for some time and does not bill."""
    harmless: list[str] = []

    def gone() -> bool:
        nonlocal harmless
        billed, harmless = sort_out(stage.client, list(_tagged(stage)))
        stage.progress.values["remaining"] = billed
        return not billed

    try:
        stage.wait("the removal of all tagged resources", gone)  # the tag index lags behind deletions
    except ClientError as error:
        raise SkippedError(f"tags cannot be queried: {error}") from error
    except StepFailedError as error:
        left = stage.progress.values["remaining"]
        raise StepFailedError(f"{len(left)} resources remain: {', '.join(left[:SHOWN])}") from error
    return {"kept by AWS for a while, and not billed": harmless}


def _tagged(stage: Stage) -> Iterator[str]:
    tags = {"Project": "ratesflow", "Environment": stage.options.workspace}
    filters = [{"Key": key, "Values": [value]} for key, value in tags.items()]
    pages = stage.client("resourcegroupstaggingapi").get_paginator("get_resources").paginate(TagFilters=filters)
    for page in pages:
        yield from (each["ResourceARN"] for each in page["ResourceTagMappingList"])


def sort_out(client: Callable[[str], Any], arns: list[str]) -> tuple[list[str], list[str]]:
    """Return which of these resources remain, and which are deleted but still listed."""
    deleted = [arn for arn in arns if _is_deleted(client, arn)]
    return [arn for arn in arns if arn not in deleted], deleted


def _is_deleted(client: Callable[[str], Any], arn: str) -> bool:
    for part, check in _CHECKS.items():
        if part in arn:
            with suppress(ClientError):
                return check(client, arn)
    return False


def _key(client: Callable[[str], Any], arn: str) -> bool:
    return bool(client("kms").describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] == "PendingDeletion")


def _job_definition(client: Callable[[str], Any], arn: str) -> bool:
    found = client("batch").describe_job_definitions(jobDefinitions=[arn])["jobDefinitions"]
    return all(each["status"] == "INACTIVE" for each in found)


def _task_definition(client: Callable[[str], Any], arn: str) -> bool:
    return _state(client("ecs").describe_task_definition(taskDefinition=arn)["taskDefinition"]) != "ACTIVE"


def _nat(client: Callable[[str], Any], arn: str) -> bool:
    gateways = client("ec2").describe_nat_gateways(NatGatewayIds=[arn.rpartition("/")[2]])["NatGateways"]
    return all(each["State"] == "deleted" for each in gateways)


def _state(described: Mapping[str, Any]) -> str:
    return str(described.get("status"))


_CHECKS = {
    ":key/": _key,
    ":job-definition/": _job_definition,
    ":task-definition/": _task_definition,
    ":natgateway/": _nat,
}
