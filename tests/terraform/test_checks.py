"""Checks of the Terraform files with Terraform itself, without an account.

RATESFLOW_TERRAFORM_CHECK names a command that runs Terraform on a folder without an account: fmt, init, validate,
and for each workspace plan, apply, an empty second plan and destroy, then `terraform test` and checkov.
"""

import os
import re
import shlex
import shutil
import subprocess

import pytest

from tests.terraform.sources import ROOT, TERRAFORM

CHECK = os.environ.get("RATESFLOW_TERRAFORM_CHECK")
WORKSPACES = ("dev", "staging", "production")
GIVEN = [
    "--var",
    f"loader_image=123456789012.dkr.ecr.eu-central-1.amazonaws.com/ratesflow/loader@sha256:{'a' * 64}",
    "--var",
    f"api_image=123456789012.dkr.ecr.eu-central-1.amazonaws.com/ratesflow/api@sha256:{'b' * 64}",
    # Required in addition to an environment's variables file.
    *("--var", 'alarm_emails=["oncall@example.com"]'),
    *(
        "--var",
        "certificate_arn=arn:aws:acm:eu-central-1:123456789012:certificate/00000000-0000-0000-0000-000000000000",
    ),
    *("--var", "api_domain=rates.example.com"),
]

needs_check = pytest.mark.skipif(
    not CHECK, reason="set RATESFLOW_TERRAFORM_CHECK to a command that runs Terraform without an account"
)


def check(*arguments, folder=TERRAFORM):
    """Run the command on terraform/ or a subfolder; return its exit status and output."""
    command = [*shlex.split(CHECK or ""), str(folder), "--root", str(ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("terraform"), reason="install terraform")
def test_files_are_formatted():
    """`terraform fmt` changes nothing."""
    command = ["terraform", f"-chdir={TERRAFORM}", "fmt", "-check", "-recursive"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_checkov_exception_has_a_reason():
    """Every checkov exception has a reason on the same line."""
    exceptions = [
        line.strip() for path in sorted(TERRAFORM.rglob("*.tf")) for line in path.read_text().splitlines()
        if "checkov:skip" in line
    ]  # fmt: skip
    assert exceptions
    assert [line for line in exceptions if not re.fullmatch(r"#checkov:skip=CKV2?_AWS_\d+:\S+ .{15,}", line)] == []


@needs_check
@pytest.mark.timeout(1800)
def test_every_environment_can_be_planned_applied_and_destroyed():
    """All three environments can be planned, applied and destroyed, the tests pass, and checkov finds nothing."""
    environments = []
    for workspace in WORKSPACES:
        environments += [
            "--workspace",
            workspace,
            "--var-file",
            str(TERRAFORM / "environments" / f"{workspace}.tfvars"),
        ]
    status, output = check("--checkov", *GIVEN, *environments)
    assert status == 0, output
    for workspace in WORKSPACES:
        assert f"[{workspace}] second plan is empty" in output


@needs_check
@pytest.mark.timeout(600)
def test_default_workspace_is_rejected():
    """A plan in the workspace `default` fails with the remedy."""
    status, output = check("--no-apply", "--no-tests", "--no-modules", "--no-fmt", *GIVEN)
    assert status == 1
    assert 'The workspace "default" is not an environment' in output
