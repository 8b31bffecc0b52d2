"""Looks for what is left of an environment that was destroyed, by its tags, and says of what it does not matter."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from tests.rehearsal.stage import DoesNotHoldError, SkippedError, Stage
from tests.rehearsal.stages.making import initialise
from tests.rehearsal.stages.taking_down import take_down

SHOWN = 20


def destroy(stage: Stage) -> dict[str, Any]:
    """Destroy the environment, its workspace, and what Terraform does not manage: revisions, log groups, images."""
    initialise(stage)
    if failed := take_down(stage):
        raise DoesNotHoldError("; ".join(failed))
    return {}


def nothing_left(stage: Stage) -> dict[str, Any]:
    """Check that nothing has the environment's tag, except what AWS keeps for some time and does not bill."""
    harmless: list[str] = []

    def gone() -> bool:
        nonlocal harmless
        billed, harmless = sort_out(stage.client, list(_tagged(stage)))
        stage.progress.values["left"] = billed
        return not billed

    try:
        stage.wait("the end of everything tagged", gone)  # the index of tags is behind what was deleted
    except ClientError as error:
        raise SkippedError(f"tags cannot be asked for: {error}") from error
    except DoesNotHoldError as error:
        left = stage.progress.values["left"]
        raise DoesNotHoldError(f"{len(left)} resources are left: {', '.join(left[:SHOWN])}") from error
    return {"kept by AWS for a while, and not billed": harmless}


def _tagged(stage: Stage) -> Iterator[str]:
    tags = {"Project": "ratesflow", "Environment": stage.options.workspace}
    filters = [{"Key": key, "Values": [value]} for key, value in tags.items()]
    pages = stage.client("resourcegroupstaggingapi").get_paginator("get_resources").paginate(TagFilters=filters)
    for page in pages:
        yield from (each["ResourceARN"] for each in page["ResourceTagMappingList"])


def sort_out(client: Callable[[str], Any], arns: list[str]) -> tuple[list[str], list[str]]:
    """Return which of these resources are left, and which are over and only listed yet."""
    over = [arn for arn in arns if _is_over(client, arn)]
    return [arn for arn in arns if arn not in over], over


def _is_over(client: Callable[[str], Any], arn: str) -> bool:
    for part, look in _LOOKS.items():
        if part in arn:
            with suppress(ClientError):
                return look(client, arn)
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


_LOOKS = {
    ":key/": _key,
    ":job-definition/": _job_definition,
    ":task-definition/": _task_definition,
    ":natgateway/": _nat,
}
