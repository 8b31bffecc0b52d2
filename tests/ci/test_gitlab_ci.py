"""The pipeline's file: GitLab's schema, the jobs and their order, and the syntax of the scripts."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ci.pipeline import FILE, document, job, jobs, script

TESTS = ("test", "test-wheel")
ON_AWS = ("pre-infra-setup", "package-and-publish", "terraform-plan", "terraform-apply")
ORDER = (*TESTS, *ON_AWS)


def test_keeps_gitlabs_schema() -> None:
    """The schema is the one that GitLab publishes, as check-jsonschema carries it."""
    pytest.importorskip(
        "check_jsonschema", reason="run `make setup`, which installs check-jsonschema with GitLab's schema"
    )
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.gitlab-ci"]
    done = subprocess.run(
        [*command, "--data-transform", "gitlab-ci", str(FILE)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_jobs_and_their_order() -> None:
    """The jobs have their order, and need only jobs of earlier stages."""
    found = jobs()
    assert tuple(found) == ORDER
    place = {name: document()["stages"].index(each["stage"]) for name, each in found.items()}
    assert [place[name] for name in ORDER] == sorted(place.values())
    for name, each in found.items():
        for needed in each.get("needs", []):
            assert place[needed] < place[name]
    assert "needs" not in found["package-and-publish"]  # so that it waits for all jobs of earlier stages
    assert set(found["terraform-plan"]["needs"]) == {"test", "package-and-publish"}
    assert set(found["terraform-apply"]["needs"]) == {"package-and-publish", "terraform-plan"}


def test_manual_jobs() -> None:
    """Only the set-up, on request, and changes of production are manual."""
    off, manual = job("pre-infra-setup")["rules"]
    assert (manual["if"], manual["when"]) == ('$PRE_INFRA == "true"', "manual")
    _, production, others = job("terraform-apply")["rules"]
    assert (production["if"], production["when"]) == ('$WORKSPACE == "production"', "manual")
    assert others == {"when": "on_success"}
    for name in ON_AWS:
        assert job(name)["rules"][0] == off
    assert off["when"] == "never"
    assert "$CI_COMMIT_BRANCH != $CI_DEFAULT_BRANCH" in off["if"]
    assert not [name for name in TESTS if "rules" in job(name)]


def test_variables_and_their_defaults() -> None:
    """The variables have their defaults; the default tag is the commit."""
    given = document()["variables"]
    assert {name: given[name]["value"] for name in given} == {
        "WORKSPACE": "dev", "TAG": "$CI_COMMIT_SHA", "PRE_INFRA": "false",
    }  # fmt: skip
    text = FILE.read_text()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "DOCKER_REGISTRY"):
        assert name in text
    assert not re.search(r"AKIA|ASIA|arn:aws:iam::\d", text)


def test_each_environment_has_its_variables() -> None:
    """WORKSPACE offers the environments with a Terraform variables file, except the sandbox."""
    offered = document()["variables"]["WORKSPACE"]["options"]
    assert {path.stem for path in (FILE.parent / "terraform/environments").glob("*.tfvars")} == {*offered, "sandbox"}


def test_registry_keeps_deployed_images() -> None:
    """The registry has a retention rule for the deployment tag of each environment, production first."""
    pre_infra = FILE.parent / "terraform/pre-infra"
    (default,) = re.findall(r"^  default = \[\n(.*?)\n  \]$", (pre_infra / "variables.tf").read_text(), re.M | re.S)
    listed = re.findall(r'name = "(\w+)"', default)
    assert sorted(listed) == sorted(document()["variables"]["WORKSPACE"]["options"])
    assert (listed[0], listed[-1]) == ("production", "dev")
    assert 'tagPrefixList = ["deployed-${each.name}-"]' in (pre_infra / "images.tf").read_text()
    assert 'tag="deployed-$WORKSPACE-$CI_PIPELINE_ID"' in script("terraform-apply")


@pytest.mark.parametrize("folder", ["terraform", "terraform/pre-infra"])
def test_providers_are_locked(folder: str) -> None:
    """Each provider is locked to one version within its constraint, with checksums for every platform."""
    read = (
        (FILE.parent / folder / "versions.tf").read_text(),
        (FILE.parent / folder / ".terraform.lock.hcl").read_text(),
    )
    asked = dict(re.findall(r'source  = "(hashicorp/\w+)"\n +version = "(.*)"', read[0]))
    locked = re.findall(r'^provider "registry.terraform.io/([a-z/]+)" \{\n(.*?)^\}', read[1], re.M | re.S)
    assert {name for name, _ in locked} == set(asked)
    for name, body in locked:
        version, constraints = re.findall(r'^  (?:version    |constraints) = "(.*)"$', body, re.M)
        assert constraints == asked[name]
        least = [int(each) for each in constraints.removeprefix("~> ").split(".")]
        found = [int(each) for each in version.split(".")]
        assert found[0] == least[0]
        assert found[1] >= least[1]
        assert len(set(re.findall(r'"zh:[0-9a-f]{64}"', body))) >= 12


def test_every_job_that_uses_aws_can_assume_a_role() -> None:
    """Each of these jobs has an ID token and passes it to the SDKs before its first call."""
    for name in ON_AWS:
        found = job(name)
        assert found["id_tokens"] == {"AWS_ID_TOKEN": {"aud": "$CI_SERVER_URL"}}
        calls = re.split(r"\baws (?=[a-z0-9-]+ [a-z-]+)", script(name))
        assert "AWS_WEB_IDENTITY_TOKEN_FILE" in calls[0]
    assert not [name for name in TESTS if "id_tokens" in job(name)]


def test_reviewed_plan_is_applied() -> None:
    """The plan is an artifact together with its inputs; apply uses the file and no variables."""
    plan, apply = job("terraform-plan"), job("terraform-apply")
    for path in ("$WORKSPACE.tfplan", ".terraform.lock.hcl", ".build/"):
        assert f"terraform/{path}" in plan["artifacts"]["paths"]
    assert plan["artifacts"]["access"] == "maintainer"
    (command,) = re.findall(r"terraform apply.*", script("terraform-apply"))
    assert command.endswith(' "$WORKSPACE.tfplan"')
    assert "-var" not in command
    assert apply["resource_group"] == "terraform-$WORKSPACE"
    assert job("package-and-publish")["artifacts"]["reports"]["dotenv"] == "images.env"
    for image in ("LOADER_IMAGE", "API_IMAGE"):
        assert f"_image=${image}" in script("terraform-plan")


def test_schema_is_migrated_before_the_apply() -> None:
    """The new image migrates before the apply; at the first deployment right after it."""
    text = script("terraform-apply")
    in_order = (
        "aws ecr put-image",
        "register-job-def",
        "terraform apply",
        'if [ -z "$migrated" ]',
        "ecs wait services-stable",
        "curl --fail",
    )
    assert [text.index(part) for part in in_order] == sorted(text.index(part) for part in in_order)


@pytest.mark.parametrize("name", ORDER)
def test_scripts_have_valid_syntax(name: str, tmp_path: Path) -> None:
    """Each script is accepted by bash and sh, and by shellcheck if it is installed."""
    file = tmp_path / "script.sh"
    file.write_text("#!/bin/sh\n" + script(name))
    for shell in ("bash", "sh"):
        done = subprocess.run([shell, "-n", str(file)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    beside = Path(sys.executable).with_name("shellcheck")
    if checker := shutil.which("shellcheck") or (str(beside) if beside.exists() else None):
        # 2154: variables that the runner sets.
        done = subprocess.run([checker, "--exclude=SC2154", str(file)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
