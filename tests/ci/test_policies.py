"""CI's policies, as far as they can be read without Terraform: a resource of a new service is noticed here."""

import re

from tests.ci.pipeline import ROOT, script

PRE_INFRA = ROOT / "terraform/pre-infra"
# Beginnings of resource types, the longer ones first, and the service that IAM knows them by.
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
    """Each type of resource belongs to a service that the policies of the roles which deploy name."""
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
        assert service, f"aws_{each}: name its service here, and let CI's roles use it in terraform/pre-infra/ci_*.tf"
        assert service in allowed, f"aws_{each}: CI's roles may not use {service} (terraform/pre-infra/ci_*.tf)"


def test_ci_roles_allow_every_aws_command() -> None:
    """Every `aws` command of the jobs that assume a role has its action among those of that role."""
    text = (PRE_INFRA / "ci_commands.tf").read_text()
    images, commands = (
        set(re.findall(r'"([a-z0-9]+:[A-Z]\w+)"', part)) for part in text.partition('"ci_images"')[::2][::-1]
    )
    free = {"sts:GetCallerIdentity"}  # which nothing can forbid
    wider = {"ecr:GetLoginPassword": "ecr:GetAuthorizationToken", "ecs:Wait": "ecs:DescribeServices"}
    for job, allowed in (("package-and-publish", images), ("terraform-plan", commands), ("terraform-apply", commands)):
        called = set(re.findall(r"\baws ([a-z0-9]+) ([a-z-]+)", script(job)))
        actions = {f"{service}:{operation.title().replace('-', '')}" for service, operation in called}
        assert actions
        missing = {wider.get(action, action) for action in actions} - free - allowed
        assert not missing, f"{job}: {missing}"
