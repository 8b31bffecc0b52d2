"""The policies of the CI roles, checked without Terraform: they cover every service and command."""

import re

from tests.ci.pipeline import ROOT, script

PRE_INFRA = ROOT / "terraform/pre-infra"
# Prefixes of resource types, longer ones first, and their IAM services.
SERVICES = {
    "appautoscaling_": "application-autoscaling",
    "backup_": "backup",
    "batch_": "batch",
    "budgets_": "budgets",
    "cloudwatch_event_": "events",
    "cloudwatch_log_": "logs",
    "cloudwatch_": "cloudwatch",
    "db_": "rds",
    "default_security_group": "ec2",
    "ecs_": "ecs",
    "eip": "ec2",
    "flow_log": "ec2",
    "iam_": "iam",
    "internet_gateway": "ec2",
    "kms_": "kms",
    "lambda_": "lambda",
    "launch_template": "ec2",
    "lb": "elasticloadbalancing",
    "nat_gateway": "ec2",
    "rds_": "rds",
    "route": "ec2",
    "s3_": "s3",
    "scheduler_": "scheduler",
    "secretsmanager_": "secretsmanager",
    "security_group": "ec2",
    "serverlessapplicationrepository_": "serverlessrepo",
    "sfn_": "states",
    "sns_": "sns",
    "sqs_": "sqs",
    "ssm_": "ssm",
    "subnet": "ec2",
    "vpc": "ec2",
}


def test_ci_roles_allow_every_service_in_terraform() -> None:
    """The policies of the deploying roles name the service of each resource type."""
    files = sorted((ROOT / "terraform").glob("*.tf"))
    types = {found for path in files for found in re.findall(r'^resource "aws_(\w+)"', path.read_text(), re.M)}
    assert len(types) > 50
    policies = "".join(
        (PRE_INFRA / name).read_text() for name in ("ci_terraform.tf", "ci_services.tf", "ci_backups.tf")
    )
    allowed = set(re.findall(r'"([a-z0-9-]+):[A-Z*]', policies)) | set(
        re.findall(r"^    ([a-z0-9]+) += \[", policies, re.M)
    )
    for each in sorted(types):
        service = next((service for begins, service in SERVICES.items() if each.startswith(begins)), None)
        assert service, f"aws_{each}: add its service here, and to CI's roles in terraform/pre-infra/ci_*.tf"
        assert service in allowed, f"aws_{each}: CI's roles may not use {service} (terraform/pre-infra/ci_*.tf)"


def test_ci_roles_allow_every_aws_command() -> None:
    """The role of each job allows the actions of its `aws` commands."""
    text = (PRE_INFRA / "ci_commands.tf").read_text()
    images, commands = (
        set(re.findall(r'"([a-z0-9]+:[A-Z]\w+)"', part)) for part in text.partition('"ci_images"')[::2][::-1]
    )
    free = {"sts:GetCallerIdentity"}  # always allowed
    wider = {"ecr:GetLoginPassword": "ecr:GetAuthorizationToken", "ecs:Wait": "ecs:DescribeServices"}
    for job, allowed in (("package-and-publish", images), ("terraform-plan", commands), ("terraform-apply", commands)):
        called = set(re.findall(r"\baws ([a-z0-9]+) ([a-z-]+)", script(job)))
        actions = {f"{service}:{operation.title().replace('-', '')}" for service, operation in called}
        assert actions
        missing = {wider.get(action, action) for action in actions} - free - allowed
        assert not missing, f"{job}: {missing}"
