"""Each switch flipped on a living environment: what is replaced or taken away is listed here, everything else stays.

Terraform applies an environment without an account and plans the change; see `plans.py`. docs/deploy.md tells the same
in words, "What can be changed while it runs".
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

from tests.terraform.plans import KEPT, Living, RefusedError
from tests.terraform.sources import ROOT, TERRAFORM
from tests.terraform.test_checks import CHECK, GIVEN, needs_check

pytestmark = [needs_check, pytest.mark.timeout(900)]

ENVIRONMENTS = ("dev", "staging")
# A revision of a task definition is never changed: the service goes over to another one.
REVISION = ("aws_ecs_task_definition.api",)
ALARMS = ('aws_cloudwatch_metric_alarm.main[[]"*"]',)
ENDPOINTS = ('aws_vpc_endpoint.interface[[]"*"]',)


@dataclass(frozen=True)
class Flip:
    """Variables that are changed, and patterns of the addresses that may be replaced or taken away by it."""

    environment: str
    changed: dict[str, Any]
    replaced: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    refused: str = ""
    created: tuple[str, ...] = ()


FLIPS = {
    "nothing": Flip("staging", {}),
    "on-demand": Flip("staging", {"compute": "fargate"}, deleted=ALARMS),
    "spot": Flip("dev", {"compute": "fargate"}),
    "ec2-queue": Flip("staging", {"ec2_queue": True}, created=("aws_batch_compute_environment.*", "aws_iam_*")),
    "ec2": Flip("staging", {"compute": "ec2", "ec2_queue": True}, deleted=ALARMS),
    "ec2-alone": Flip("staging", {"compute": "ec2"}, refused="need ec2_queue = true"),
    "more-vcpus": Flip("staging", {"maximum_vcpus": 32}),
    "fewer-vcpus": Flip("staging", {"maximum_vcpus": 8}),
    "task-sizes": Flip("staging", {"task_sizes": {"load": {"vcpus": 4, "memory": 16384}}}),
    "shards": Flip("staging", {"maximum_shards": 4, "shard_bytes": 67108864}),
    "scratch": Flip("staging", {"scratch_gib": 50}),
    "aurora-to-rds": Flip("staging", {"aurora": False}, refused='database of the kind "aurora"'),
    "rds-to-aurora": Flip("dev", {"aurora": True}, refused='database of the kind "rds"'),
    "capacity": Flip("staging", {"aurora_minimum_capacity": 2, "aurora_maximum_capacity": 16}),
    "pausing": Flip("staging", {"aurora_minimum_capacity": 0}, replaced=REVISION),
    "more-readers": Flip("staging", {"aurora_readers": 2}),
    "no-readers": Flip("staging", {"aurora_readers": 0}, deleted=("aws_rds_cluster_instance.main[[]1]", *ALARMS)),
    "readers-that-come-and-go": Flip("staging", {"aurora_maximum_readers": 4}),
    "instance-class": Flip("dev", {"rds_instance_class": "db.t4g.small", "rds_storage_gib": 40}),
    "multi-az": Flip("dev", {"rds_multi_az": True}),
    "major-version": Flip("staging", {"database_version": "18"}, refused="allow_major_version_upgrade"),
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
    "cidr": Flip("staging", {"cidr": "10.30.0.0/16"}, refused="cidr cannot change: this environment was created with"),
    "region": Flip("staging", {"region": "eu-west-1"}, refused="region cannot change: this environment was created in"),
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
    """The folder in which every environment was applied, as its file of variables says."""
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
    """Nothing is replaced or taken away but what is listed; what would lose data or the service is refused."""
    flip = FLIPS[name]
    variables = [f"-var-file=environments/{flip.environment}.tfvars", *(f"-var={each}" for each in GIVEN[1::2])]
    living = Living(kept, flip.environment, variables)
    if flip.refused:
        with pytest.raises(RefusedError) as refused:
            living.plan(flip.changed)
        assert flip.refused in str(refused.value)
        return
    change = living.plan(flip.changed)
    assert _unlisted(change.replaced, flip.replaced) == set()
    assert _unlisted(change.deleted, flip.deleted) == set()
    assert all(any(fnmatchcase(each, pattern) for each in change.created) for pattern in flip.created)
    assert bool(flip.changed) == bool(change.replaced | change.deleted | change.created | change.updated)


def _unlisted(addresses: frozenset[str], patterns: tuple[str, ...]) -> set[str]:
    return {each for each in addresses if not any(fnmatchcase(each, pattern) for pattern in patterns)}
