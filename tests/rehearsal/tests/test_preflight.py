"""Reasons for which a rehearsal does not start: each is one sentence, and nothing is created."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rehearsal.conftest import OTHER_REGION, MakeStage, Rehearsal
from tests.rehearsal.settings import ROOT, values_of
from tests.rehearsal.stage import Stage
from tests.rehearsal.stages import costs, preflight


def failure_of(made: Stage) -> str:
    """Return the message of a failed preflight."""
    with pytest.raises(preflight.PreflightError) as error:
        preflight.check(made, begun=False)
    assert made.progress.created == []
    return str(error.value)


def test_preflight_prints_account_and_costs(stage: MakeStage) -> None:
    """A successful preflight prints identity, region, unreadable quotas, and costs."""
    lines = preflight.check(stage(), begun=False)
    assert "in account 123456789012; everything is created in eu-west-3." in lines[0]
    assert any("vCPUs of Fargate Spot could not be read" in line for line in lines)
    assert any(line.startswith("  idle, total") and line.endswith("per hour") for line in lines)


@pytest.mark.parametrize(
    ("workspace", "message"),
    [
        ("production", "production is a permanent environment, and a rehearsal destroys its environment: use sandbox."),
        ("nowhere", "There is no terraform/environments/nowhere.tfvars: copy sandbox.tfvars to that name, or use"),
    ],
)
def test_permanent_environments_are_rejected(stage: MakeStage, workspace: str, message: str) -> None:
    """Permanent environments, and those without a variables file, are rejected."""
    assert failure_of(stage(workspace)).startswith(message)


def test_missing_tools_are_reported(stage: MakeStage, tmp_path: Path) -> None:
    """All missing tools are reported at once, with the remedy."""
    empty = tmp_path / "empty"
    empty.mkdir()
    made = stage(PATH=str(empty))
    assert [line.partition(" on PATH")[0] for line in failure_of(made).splitlines()] == [
        *(f"There is no {name}" for name in preflight.TOOLS), "There is none of podman, buildah, docker",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "text", "message"),
    [
        ("version", "1.10.5", "This is Terraform 1.10.5: 1.11 or newer, below 2.0, is required."),
        ("changes", " M Makefile\n", "The working tree has uncommitted changes"),
    ],
)
def test_old_terraform_and_uncommitted_changes_are_rejected(
    stage: MakeStage, rehearsal: Rehearsal, setting: str, text: str, message: str
) -> None:
    """An old Terraform and uncommitted changes are rejected."""
    (rehearsal.stand_in_settings / setting).write_text(text)
    assert failure_of(stage()).startswith(message)


def test_alarms_need_a_recipient(stage: MakeStage) -> None:
    """Without a recipient of alarms the rehearsal does not start."""
    assert failure_of(stage(TF_VAR_alarm_emails="[]")).startswith(
        "Monitoring is on, but alarms have no recipient: export TF_VAR_"
    )


def test_invalid_credentials_are_reported(stage: MakeStage) -> None:
    """Unusable credentials are reported as such."""
    assert failure_of(stage(AWS_ENDPOINT_URL="http://127.0.0.1:9")).startswith("AWS rejects the credentials (")


@pytest.fixture
def used_up(rehearsal: Rehearsal) -> Iterator[None]:
    """A region with no VPC left in its quota, and an environment with the same name."""
    ec2, ssm = (rehearsal.stack.aws.session.client(name, region_name=OTHER_REGION,
                endpoint_url=rehearsal.environ["AWS_ENDPOINT_URL"]) for name in ("ec2", "ssm"))  # fmt: skip
    made = [ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"] for _ in range(4)]
    ssm.put_parameter(Name="/ratesflow/sandbox/bucket", Value="theirs", Type="String")
    yield
    for vpc in made:
        ec2.delete_vpc(VpcId=vpc)
    ssm.delete_parameter(Name="/ratesflow/sandbox/bucket")


@pytest.mark.usefixtures("used_up")
def test_names_in_use_and_quotas(stage: MakeStage) -> None:
    """An existing environment and an exhausted quota are reported together, with the remedies."""
    name, quota = failure_of(stage()).splitlines()
    assert name.startswith("There is an environment sandbox already (SSM has parameters under /ratesflow/sandbox/)")
    assert quota.startswith("The quota of VPCs is 5 with 5 in use, but 1 are required: request more with `aws service-")
    assert "--service-code vpc --quota-code L-F678F1CE --desired-value 6`" in quota


def test_wrong_account_id_ends_the_rehearsal(rehearsal: Rehearsal) -> None:
    """If another number or nothing is typed, nothing is created, and the exit code is 2."""
    for typed, words in (("999999999999\n", "999999999999"), ("", "nothing")):
        done = rehearsal.run("--region", OTHER_REGION, code=2, given=typed)
        assert f"Not started. The account is 123456789012, but {words} was typed: nothing was created." in done.stderr
        assert "There is no rehearsal to continue" in rehearsal.run("--clean-up", code=2).stderr or typed
    closed = ["sh", "-c", 'exec "$@" <&-', "sh", *rehearsal.command("--region", OTHER_REGION)]
    done = subprocess.run(closed, cwd=ROOT, env=rehearsal.environ, capture_output=True, text=True, check=False)
    assert (done.returncode, "but nothing was typed: nothing was created." in done.stderr) == (2, True)
    assert not [call for call in rehearsal.calls("terraform") if "version" not in call]


def test_region_and_step_names_are_required(rehearsal: Rehearsal) -> None:
    """Without a region, or with an unknown step, the rehearsal does not start."""
    del rehearsal.environ["AWS_DEFAULT_REGION"]
    assert "No region" in rehearsal.run(code=2).stderr
    assert "there is no step lunch; the steps are pre-infra, roles" in rehearsal.run("--from", "lunch", code=2).stderr


def test_costs_match_the_documents() -> None:
    """The prices are those of docs/deploy.md, and the sums match its table."""
    text = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    named = (costs.NAT, costs.ADDRESS, costs.BALANCER, costs.VCPU, costs.GIGABYTE, costs.CAPACITY_UNIT, costs.ENDPOINT)
    assert [price for price in named if f" {price:g} " not in text] == []
    month = {part: dollars * costs.HOURS_OF_A_MONTH for part, dollars in costs.per_hour(values_of("dev")).items()}
    parts = [month[name] for name in ("connection to AWS services", "load balancer", "database")]
    table = re.findall(r"^\| (?:connection|load balancer|database:).*?\| (\d+) \|", text, re.M)
    assert parts == [pytest.approx(int(dollars), abs=1) for dollars in table]
