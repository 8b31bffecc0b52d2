"""local/aws/policies.json matches Terraform."""

import json
import re

from tests.terraform.policies import COMMAND, FILE, applied, digest, export, text
from tests.terraform.sources import TERRAFORM
from tests.terraform.test_checks import needs_check


def test_policies_are_up_to_date():
    """The file was generated from the current roles and policies in terraform/."""
    assert json.loads(FILE.read_text())["sources"] == digest(), f"the policies have changed: {COMMAND}"


def test_endpoint_policy_allows_exactly_the_s3_actions_of_tasks():
    """The VPC endpoint's policy allows exactly the S3 actions of the task roles."""
    statement = (TERRAFORM / "endpoints.tf").read_text().partition('Sid       = "Batches"')[2]
    passes = set(re.findall(r'"(s3:[A-Z]\w+)"', statement.partition("Resource")[0]))
    tasks = json.dumps([role["policies"] for role in json.loads(FILE.read_text())["tasks"]])
    assert passes == set(re.findall(r'"(s3:[A-Z]\w+)"', tasks))


@needs_check
def test_policies_match_an_applied_environment():
    """The file equals the policies of an applied environment."""
    assert FILE.read_text() == text(export(*applied())), f"the policies have changed: {COMMAND}"
