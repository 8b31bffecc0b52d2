"""Switches that are safe to flip: the value, resources that may be created or removed, and those that must stay.

To add one, add a line. It is skipped, with the reason, if Terraform has no such variable or the environment already
has the value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.rehearsal.runner import CommandError
from tests.rehearsal.settings import TERRAFORM, defaults
from tests.rehearsal.stage import SkippedError, Stage, StepFailedError
from tests.rehearsal.stages.changing import change, settle

TASKS_OF_API = "aws_ecs_task_definition.api"  # revisions; the old ones are kept
DATA = ("aws_rds_cluster.*", "aws_db_instance.*", "aws_s3_bucket.*", "aws_kms_key.*", "aws_secretsmanager_secret.*")
NETWORK = ("aws_vpc.*", "aws_subnet.*", "aws_lb.*")
WATCHING = (
    "aws_cloudwatch_*", "aws_sns_topic.alarms*", "aws_sns_topic_policy.alarms*", "aws_sns_topic_subscription.alarms*",
    "aws_iam_role.*monitoring*", "aws_iam_role_policy*.*monitoring*", "aws_flow_log.*", "aws_iam_role.flow*",
    "aws_iam_role_policy.flow*", "aws_xray_*", TASKS_OF_API,
)  # fmt: skip


@dataclass(frozen=True)
class Flip:
    """A variable, another value, and patterns of addresses: `may` be created or removed, `stays` must not change.

    Other resources may be changed in place. A flip with `database` applies only to that kind: aurora or rds.
    """

    variable: str
    value: str
    may: tuple[str, ...] = ()
    stays: tuple[str, ...] = (*DATA, *NETWORK)
    database: str | None = None
    also: tuple[str, ...] = ()


FLIPS = (
    Flip("compute", "fargate", may=("aws_batch_compute_environment.tasks*", "aws_cloudwatch_metric_alarm.*quota*")),
    Flip("maximum_vcpus", "4"),
    Flip("api_spot", "true"),
    Flip("api_minimum_tasks", "3"),
    Flip("api_cpu", "512", may=(TASKS_OF_API,), also=("api_memory=1024",)),
    Flip("aurora_maximum_capacity", "8", stays=NETWORK, database="aurora"),
    Flip("aurora_minimum_capacity", "1", stays=NETWORK, database="aurora"),
    Flip("aurora_readers", "2", may=("aws_rds_cluster_instance.main[2]",), database="aurora"),
    Flip("aurora_maximum_readers", "3", may=("aws_appautoscaling_*",), database="aurora"),
    Flip("rds_instance_class", "db.t4g.small", stays=NETWORK, database="rds"),
    Flip("monitoring", "false", may=WATCHING, stays=("aws_vpc.*", "aws_subnet.*", "aws_s3_bucket.*")),
    Flip("log_days", "14"),
    Flip("gc_schedule", "rate(3 hours)"),
    Flip("endpoints", "true", may=("aws_vpc_endpoint.*", "aws_security_group*.*", "aws_vpc_security_group_*")),
    Flip(
        "ec2_queue", "true", may=("aws_batch_*", "aws_launch_template.*", "aws_iam_*instances*", "aws_vpc_endpoint.*")
    ),
)

# Switches that are not flipped, with the reason.
UNSAFE = {
    "certificate_arn": "needs a domain and a certificate: set both in the environment's file to test them",
    "compute = ec2": "moves jobs to another kind of queue, which needs an idle environment, and instances cost more",
    "aurora": "creates another database, without the data of the old one",
    "database_version": "stops the database for minutes, and cannot be reverted",
    "nat_gateways": "would cut running tasks off from AWS, unless there are endpoints",
    "cidr, zones": "replace the network with everything in it",
}


def flip(each: Flip) -> Callable[[Stage], dict[str, Any]]:
    """Return the step that sets a switch and resets it, both under load."""

    def step(stage: Stage) -> dict[str, Any]:
        reason = skipped(each, stage.variables)
        if reason:
            raise SkippedError(reason)
        try:
            forward = change(stage, f"{each.variable}={each.value}", *each.also, may=each.may, stays=each.stays)
            back = change(stage, may=each.may, stays=each.stays)
        except (StepFailedError, CommandError):
            settle(stage)
            raise
        was = stage.variables[each.variable]
        return {f"{was} to {each.value}": forward, f"{each.value} to {was}": back}

    step.__doc__ = f"Set {each.variable} to {each.value} and back while batches are running and requests arrive."
    return step


def skipped(each: Flip, values: dict[str, str]) -> str | None:
    """Return why a switch is skipped in an environment with these variables; None if it is not."""
    if each.variable not in defaults():
        return f"Terraform has no variable {each.variable}"
    kind = "aurora" if values["aurora"] == "true" else "rds"
    if each.database not in (None, kind):
        return f"the environment's database is {kind}"
    if values[each.variable] == each.value:
        return f"{each.variable} is already {each.value}"
    return None


def known_types() -> set[str]:
    """Return the resource types in terraform/, for a test of the patterns."""
    import re

    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(TERRAFORM.glob("*.tf")))
    return set(re.findall(r'^resource "(\w+)"', text, re.M))
