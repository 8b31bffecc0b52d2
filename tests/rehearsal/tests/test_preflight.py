"""What keeps a rehearsal from beginning: each reason is one sentence, and nothing was made."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rehearsal.conftest import ELSEWHERE, Makes, Rehearsal
from tests.rehearsal.settings import ROOT, values_of
from tests.rehearsal.stage import Stage
from tests.rehearsal.stages import costs, preflight


def refused(made: Stage) -> str:
    """Return why this does not begin."""
    with pytest.raises(preflight.RefusedError) as error:
        preflight.check(made, begun=False)
    assert made.progress.made == []
    return str(error.value)


def test_who_and_what_it_costs_is_told(stage: Makes) -> None:
    """What is fine is told in lines: who, where, which quotas could not be read, and dollars."""
    told = preflight.check(stage(), begun=False)
    assert "in account 123456789012; everything comes into eu-west-3." in told[0]
    assert any("vCPUs of Fargate Spot could not be read" in line for line in told)
    assert any(line.startswith("  idle, in all") and line.endswith("an hour") for line in told)


@pytest.mark.parametrize(
    ("workspace", "words"),
    [
        ("production", "production is an environment that is kept, and a rehearsal destroys its own: use sandbox."),
        ("nowhere", "There is no terraform/environments/nowhere.tfvars: copy sandbox.tfvars to that name, or use"),
    ],
)
def test_environments_that_are_kept(stage: Makes, workspace: str, words: str) -> None:
    """What a rehearsal must not destroy, or has no variables of, is refused by its name."""
    assert refused(stage(workspace)).startswith(words)


def test_tools_that_are_not_there(stage: Makes, tmp_path: Path) -> None:
    """Every tool that is missing is named at once, with what to do."""
    empty = tmp_path / "empty"
    empty.mkdir()
    made = stage(PATH=str(empty))
    assert [line.partition(" on PATH")[0] for line in refused(made).splitlines()] == [
        *(f"There is no {name}" for name in preflight.TOOLS), "There is none of podman, buildah, docker",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("told", "text", "words"),
    [
        ("version", "1.10.5", "This is Terraform 1.10.5: 1.11 or newer is needed, and below 2.0."),
        ("changes", " M Makefile\n", "The tree has changes that are not committed"),
    ],
)
def test_old_terraform_and_changed_trees(stage: Makes, rehearsal: Rehearsal, told: str, text: str, words: str) -> None:
    """An old Terraform, and images that would be of no commit, are refused."""
    (rehearsal.told / told).write_text(text)
    assert refused(stage()).startswith(words)


def test_nobody_to_tell(stage: Makes) -> None:
    """Alarms need an address before anything is planned."""
    assert refused(stage(TF_VAR_alarm_emails="[]")).startswith(
        "There is monitoring, and nobody to tell: export TF_VAR_"
    )


def test_nobody_is_signed_in(stage: Makes) -> None:
    """Credentials that AWS cannot be asked with are told as such."""
    assert refused(stage(AWS_ENDPOINT_URL="http://127.0.0.1:9")).startswith("AWS does not know you (")


@pytest.fixture
def used_up(rehearsal: Rehearsal) -> Iterator[None]:
    """Leave no network in the region, and its name in use."""
    ec2, ssm = (rehearsal.stack.aws.session.client(name, region_name=ELSEWHERE,
                endpoint_url=rehearsal.environ["AWS_ENDPOINT_URL"]) for name in ("ec2", "ssm"))  # fmt: skip
    made = [ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"] for _ in range(4)]
    ssm.put_parameter(Name="/ratesflow/sandbox/bucket", Value="theirs", Type="String")
    yield
    for vpc in made:
        ec2.delete_vpc(VpcId=vpc)
    ssm.delete_parameter(Name="/ratesflow/sandbox/bucket")


@pytest.mark.usefixtures("used_up")
def test_names_in_use_and_quotas(stage: Makes) -> None:
    """An environment of that name, and a quota with nothing left, are told together, with what to do."""
    name, quota = refused(stage()).splitlines()
    assert name.startswith("There is an environment sandbox already (SSM has parameters under /ratesflow/sandbox/)")
    assert quota.startswith("The quota of VPCs is 5 with 5 in use, and 1 are needed: ask for more with `aws service-")
    assert "--service-code vpc --quota-code L-F678F1CE --desired-value 6`" in quota


def test_another_account_is_typed(rehearsal: Rehearsal) -> None:
    """Whoever types another number than that of the account, or nothing, gets nothing made, and exit code 2."""
    for typed, words in (("999999999999\n", "999999999999"), ("", "nothing")):
        done = rehearsal.run("--region", ELSEWHERE, code=2, given=typed)
        assert f"Not begun. The account is 123456789012, and {words} was typed: nothing was made." in done.stderr
        assert "There is no rehearsal to go on with" in rehearsal.run("--clean-up", code=2).stderr or typed
    closed = ["sh", "-c", 'exec "$@" <&-', "sh", *rehearsal.command("--region", ELSEWHERE)]
    done = subprocess.run(closed, cwd=ROOT, env=rehearsal.environ, capture_output=True, text=True, check=False)
    assert (done.returncode, "and nothing was typed: nothing was made." in done.stderr) == (2, True)
    assert not [call for call in rehearsal.calls("terraform") if "version" not in call]


def test_a_region_and_steps_have_to_be_known(rehearsal: Rehearsal) -> None:
    """Without a region, or with a step that is none, it does not begin either."""
    del rehearsal.environ["AWS_DEFAULT_REGION"]
    assert "No region" in rehearsal.run(code=2).stderr
    assert "there is no step lunch; the steps are pre-infra, roles" in rehearsal.run("--from", "lunch", code=2).stderr


def test_costs_are_those_of_the_documents() -> None:
    """The prices are those that docs/deploy.md gives with their sources, and the parts come to its table."""
    text = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    named = (costs.NAT, costs.ADDRESS, costs.BALANCER, costs.VCPU, costs.GIGABYTE, costs.CAPACITY_UNIT, costs.ENDPOINT)
    assert [price for price in named if f" {price:g} " not in text] == []
    month = {part: dollars * costs.HOURS_OF_A_MONTH for part, dollars in costs.per_hour(values_of("dev")).items()}
    parts = [month[name] for name in ("connection to AWS services", "load balancer", "database")]
    table = re.findall(r"^\| (?:connection|load balancer|database:).*?\| (\d+) \|", text, re.M)
    assert parts == [pytest.approx(int(dollars), abs=1) for dollars in table]
