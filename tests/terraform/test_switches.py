"""Flips each switch on an applied environment; only the listed resources may be replaced or deleted.

Terraform applies an environment without an account and plans the change; see `plans.py`. The section "What can be
changed while it runs" of docs/deploy.md documents the results.
"""

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from tests.terraform.plans import KEPT, AppliedEnvironment, PlanRejectedError
from tests.terraform.sources import ROOT, TERRAFORM
from tests.terraform.test_checks import CHECK, GIVEN, needs_check

pytestmark = [needs_check, pytest.mark.timeout(900)]

ENVIRONMENTS = ("dev", "staging")
# A revision of a task definition is immutable: the service changes to another one.
REVISION = ("aws_ecs_task_definition.api",)
ALARMS = ('aws_cloudwatch_metric_alarm.main[[]"*"]',)
ENDPOINTS = ('aws_vpc_endpoint.interface[[]"*"]',)


@dataclass(frozen=True)
class Flip:
    """Changed variables, and patterns of the addresses that may be replaced, deleted or created."""

    environment: str
    changed: dict[str, Any]
    replaced: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    rejected: str = ""
    created: tuple[str, ...] = ()


FLIPS = {
    "nothing": Flip("staging", {}),
    "on-demand": Flip("staging", {"compute": "fargate"}, deleted=ALARMS),
    "spot": Flip("dev", {"compute": "fargate"}),
    "ec2-queue": Flip("staging", {"ec2_queue": True}, created=("aws_batch_compute_environment.*", "aws_iam_*")),
    "ec2": Flip("staging", {"compute": "ec2", "ec2_queue": True}, deleted=ALARMS),
    "ec2-alone": Flip("staging", {"compute": "ec2"}, rejected="need ec2_queue = true"),
    "more-vcpus": Flip("staging", {"maximum_vcpus": 32}),
    "fewer-vcpus": Flip("staging", {"maximum_vcpus": 8}),
    "task-sizes": Flip("staging", {"task_sizes": {"load": {"vcpus": 4, "memory": 16384}}}),
    "shards": Flip("staging", {"maximum_shards": 4, "shard_bytes": 67108864}),
    "scratch": Flip("staging", {"scratch_gib": 50}),
    "aurora-to-rds": Flip("staging", {"aurora": False}, rejected='database of the kind "aurora"'),
    "rds-to-aurora": Flip("dev", {"aurora": True}, rejected='database of the kind "rds"'),
    "capacity": Flip("staging", {"aurora_minimum_capacity": 2, "aurora_maximum_capacity": 16}),
    "pausing": Flip("staging", {"aurora_minimum_capacity": 0}, replaced=REVISION),
    "more-readers": Flip("staging", {"aurora_readers": 2}),
    "no-readers": Flip("staging", {"aurora_readers": 0}, deleted=("aws_rds_cluster_instance.main[[]1]", *ALARMS)),
    "readers-that-come-and-go": Flip("staging", {"aurora_maximum_readers": 4}),
    "instance-class": Flip("dev", {"rds_instance_class": "db.t4g.small", "rds_storage_gib": 40}),
    "multi-az": Flip("dev", {"rds_multi_az": True}),
    "major-version": Flip("staging", {"database_version": "18"}, rejected="allow_major_version_upgrade"),
    "major-version-allowed": Flip(
        "staging",
        {"database_version": "18", "allow_major_version_upgrade": True},
        replaced=("aws_rds_cluster_parameter_group.main[[]0]",),
    ),
    "backup-days": Flip("staging", {"backup_days": 14}),
    "backup-region": Flip("staging", {"backup_region": "eu-west-1"}),
    "backup-region-rds": Flip("dev", {"backup_region": "eu-west-1"}),
    "api-spot": Flip("staging", {"api_spot": True}),
    "api-on-demand": Flip("dev", {"api_spot": False}),
    "api-size": Flip("staging", {"api_cpu": 1024, "api_memory": 2048}, replaced=REVISION),
    "api-tasks": Flip("staging", {"api_minimum_tasks": 3, "api_maximum_tasks": 8}),
    "no-certificate": Flip(
        "staging",
        {"certificate_arn": "null", "api_domain": "null"},
        deleted=("aws_lb_listener.https[[]0]", "aws_vpc_security_group_ingress_rule.public[[]*443*]"),
    ),
    "kept": Flip("staging", {"deletion_protection": True}),
    "zones": Flip("staging", {"zones": 3}),
    "nat": Flip("staging", {"nat_gateways": 2}),
    "cidr": Flip("staging", {"cidr": "10.30.0.0/16"}, rejected="cidr cannot change: this environment was created with"),
    "region": Flip(
        "staging", {"region": "eu-west-1"}, rejected="region cannot change: this environment was created in"
    ),
    "no-monitoring": Flip(
        "staging",
        {"monitoring": False},
        replaced=REVISION,
        deleted=(
            *ALARMS,
            "aws_cloudwatch_dashboard.*",
            "aws_cloudwatch_event_*.task_failed*",
            "aws_cloudwatch_log_group.flow[[]0]",
            "aws_cloudwatch_log_group.insights[[]0]",
            "aws_flow_log.*",
            "aws_iam_role*.flow[[]0]",
            "aws_iam_role*.rds_monitoring[[]0]",
        ),
    ),
    "monitoring": Flip("dev", {"monitoring": True}, replaced=REVISION),
    "no-rotation": Flip(
        "staging",
        {"rotation": False},
        deleted=(
            *ALARMS,
            *ENDPOINTS,
            "aws_cloudwatch_log_group.rotation[[]0]",
            "aws_scheduler_schedule.api[[]0]",
            "aws_secretsmanager_secret_rotation.*",
            "aws_security_group.rotation[[]0]",
            "aws_serverlessapplicationrepository_cloudformation_stack.*",
            "aws_vpc_security_group_*gress_rule.*rotation*",
        ),
    ),
    "rotation": Flip("dev", {"rotation": True}),
    "log-days": Flip("staging", {"log_days": 60}),
    "tags": Flip("staging", {"tags": {"Team": "prices"}}),
    "release": Flip(
        "staging",
        {name: f"example/{name}@sha256:{'c' * 64}" for name in ("loader_image", "api_image")},
        replaced=REVISION,
    ),
}


@pytest.fixture(scope="module")
def kept() -> Iterator[Path]:
    """The working copy in which every environment was applied with its variables file."""
    command = [*shlex.split(CHECK or ""), str(TERRAFORM), "--root", str(ROOT), "--quick", "--keep", "--no-fmt"]
    command += ["--no-tests", "--no-modules", *GIVEN]
    for name in ENVIRONMENTS:
        command += ["--workspace", name, "--var-file", str(TERRAFORM / "environments" / f"{name}.tfvars")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = KEPT.search(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert found, f"{CHECK} --keep names no folder"
    yield Path(found[1])
    shutil.rmtree(found[1], ignore_errors=True)


@pytest.mark.parametrize("name", FLIPS)
def test_flip(kept: Path, name: str) -> None:
    """A flip replaces and deletes only listed resources; one that would lose data or the service is rejected."""
    flip = FLIPS[name]
    variables = [f"-var-file=environments/{flip.environment}.tfvars", *(f"-var={each}" for each in GIVEN[1::2])]
    environment = AppliedEnvironment(kept, flip.environment, variables)
    if flip.rejected:
        with pytest.raises(PlanRejectedError) as rejected:
            environment.plan(flip.changed)
        assert flip.rejected in str(rejected.value)
        return
    change = environment.plan(flip.changed)
    assert _unlisted(change.replaced, flip.replaced) == set()
    assert _unlisted(change.deleted, flip.deleted) == set()
    assert all(any(fnmatchcase(each, pattern) for each in change.created) for pattern in flip.created)
    assert bool(flip.changed) == bool(change.replaced | change.deleted | change.created | change.updated)


def _unlisted(addresses: frozenset[str], patterns: tuple[str, ...]) -> set[str]:
    return {each for each in addresses if not any(fnmatchcase(each, pattern) for pattern in patterns)}
