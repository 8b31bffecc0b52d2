"""local/aws/policies.json is what Terraform makes."""

import json

from tests.terraform.policies import COMMAND, FILE, applied, digest, export, text
from tests.terraform.test_checks import needs_check


def test_the_policies_were_written_after_the_last_change():
    """Roles and policies in terraform/ are those from which the file was written."""
    assert json.loads(FILE.read_text())["sources"] == digest(), f"the policies have changed: {COMMAND}"


@needs_check
def test_the_policies_are_those_that_terraform_makes():
    """The file is, to the letter, what an environment has after it was applied."""
    assert FILE.read_text() == text(export(*applied())), f"the policies have changed: {COMMAND}"
