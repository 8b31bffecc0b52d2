"""Checks before anything is created: tools, working tree, credentials, name, quotas and costs; and a confirmation."""

import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.rehearsal.runner import CommandError
from tests.rehearsal.settings import file_of, values_of
from tests.rehearsal.stage import Stage
from tests.rehearsal.stages import costs

NEWEST_KNOWN, OLDEST = (2, 0), (1, 11)
BUILDERS = ("podman", "buildah", "docker")
TOOLS = {
    "terraform": "install Terraform 1.11 or newer",
    "aws": "install the AWS command line, or run `make setup`, which has one",
    "jq": "install jq",
    "curl": "install curl",
    "git": "install git",
}
ADDRESSES = ("alarm_emails", "alarm_urls")
KEPT = ("dev", "staging", "production")


class PreflightError(Exception):
    """The rehearsal cannot start; the message has one sentence per reason, with the remedy."""


def check(stage: Stage, *, begun: bool) -> list[str]:
    """Return lines of information before the start. Raises PreflightError with everything that is missing.

    With `begun` the environment belongs to this rehearsal, and its name may be in use.
    """
    reasons = [*_workspace(stage.options.workspace), *_tools(stage.runner.path)]
    if reasons:
        raise PreflightError("\n".join(reasons))
    reasons = [*_terraform(stage), *_tree(stage), *_addresses(stage)]
    account, message = _account(stage)
    if not account:
        raise PreflightError("\n".join([*reasons, message]))
    reasons += _another(stage, account)
    if not begun:
        reasons += _name(stage)
    short, unknown = quotas(stage) if not begun else ([], [])
    reasons += short
    if reasons:
        raise PreflightError("\n".join(reasons))
    stage.progress.values["account"] = account
    for name in ADDRESSES:
        stage.progress.values[name] = stage.runner.given(f"TF_VAR_{name}") or stage.progress.values.get(name)
    return [message, *unknown, *costs.describe(stage.variables)]


def confirm_account(stage: Stage, read: Callable[[str], str]) -> None:
    """Ask the user to type the account ID. Raises PreflightError for any other input."""
    account = stage.progress.values["account"]
    try:
        typed = read(f"Type the account ID to continue ({account}): ").strip()
    except (EOFError, RuntimeError):  # RuntimeError without any input
        typed = ""
    if typed != account:
        raise PreflightError(f"The account is {account}, but {typed or 'nothing'} was typed: nothing was created.")


def check_clean_up(stage: Stage) -> None:
    """Raise PreflightError unless this is a rehearsal's environment in the account in which it was created."""
    account, message = _account(stage)
    if reasons := [*_workspace(stage.options.workspace), *(_another(stage, account) if account else [message])]:
        raise PreflightError("\n".join(reasons))


def builder(path: str) -> str | None:
    """Return the first available container tool, in the order of docs/deploy.md."""
    return next((name for name in BUILDERS if shutil.which(name, path=path)), None)


def _workspace(name: str) -> Iterable[str]:
    if name in KEPT:
        yield f"{name} is a permanent environment, and a rehearsal destroys its environment: use sandbox."
    elif not file_of(name).exists():
        yield f"There is no {Path(*file_of(name).parts[-3:])}: copy sandbox.tfvars to that name, or use sandbox."
    elif values_of(name)["deletion_protection"] != "false":
        yield f"{file_of(name).name} has deletion_protection, so that it could not be destroyed: set it to false."


def _tools(path: str) -> Iterable[str]:
    for tool, how in TOOLS.items():
        if not shutil.which(tool, path=path):
            yield f"There is no {tool} on PATH: {how}."
    if builder(path) is None:
        yield f"There is none of {', '.join(BUILDERS)} on PATH to build images: install one."


def _terraform(stage: Stage) -> Iterable[str]:
    version = json.loads(stage.runner.run("terraform", "version", "-json").out)["terraform_version"]
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if not OLDEST <= numbers < NEWEST_KNOWN:
        yield f"This is Terraform {version}: 1.11 or newer, below 2.0, is required."


def _tree(stage: Stage) -> Iterable[str]:
    try:
        changed = stage.runner.run("git", "status", "--porcelain").out.strip()
    except CommandError:
        yield "This folder is not a git checkout, whose commit names the images: clone the project."
        return
    if changed:
        yield "The working tree has uncommitted changes, so that images would match no commit: commit or stash them."


def _addresses(stage: Stage) -> Iterable[str]:
    given = [stage.runner.given(f"TF_VAR_{name}") or stage.progress.values.get(name) for name in ADDRESSES]
    if stage.variables["monitoring"] == "true" and not set(given) - {None, "", "[]"}:
        yield "Monitoring is on, but alarms have no recipient: export TF_VAR_alarm_emails='[\"you@example.com\"]'."


def _account(stage: Stage) -> tuple[str | None, str]:
    try:
        found = stage.client("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        return None, f"AWS rejects the credentials ({error}): set AWS_PROFILE, or sign in again."
    account = str(found["Account"])
    return account, f"You are {found['Arn']} in account {account}; everything is created in {stage.options.region}."


def _another(stage: Stage, account: str) -> Iterable[str]:
    before = stage.progress.values.get("account", account)
    if before != account:
        yield f"This rehearsal started in account {before}, but you are in {account}: sign in to the former."


def _name(stage: Stage) -> Iterable[str]:
    path = f"/ratesflow/{stage.options.workspace}/"
    if stage.client("ssm").get_parameters_by_path(Path=path, MaxResults=1)["Parameters"]:
        yield (
            f"There is an environment {stage.options.workspace} already (SSM has parameters under {path}): use "
            "--from STEP to continue this rehearsal's, --clean-up to remove it, or another --workspace."
        )


# Service, code, name, number needed, number in use; codes of Service Quotas.
Quota = tuple[str, str, str, float, Callable[[Any], int]]


def _wanted(values: Mapping[str, str]) -> list[Quota]:
    tasks = (
        2 * int(values["api_maximum_tasks"]) * float(values["api_cpu"]) / 1024
    )  # twice while a release replaces them
    jobs = float(values["maximum_vcpus"])
    spot = values["compute"] == "fargate-spot"
    # A flip moves the jobs from one kind to the other; two of the larger tasks are the minimum.
    on_demand, on_spot = (tasks + 2, jobs) if spot else (tasks + jobs, 2)
    return [
        ("fargate", "L-3032A538", "vCPUs of Fargate On-Demand", on_demand, lambda _: 0),
        ("fargate", "L-36FBB829", "vCPUs of Fargate Spot", on_spot, lambda _: 0),
        ("ec2", "L-0263D0A3", "elastic addresses", int(values["nat_gateways"]),
         lambda client: len(client("ec2").describe_addresses()["Addresses"])),
        ("vpc", "L-F678F1CE", "VPCs", 1, lambda client: len(client("ec2").describe_vpcs()["Vpcs"])),
    ]  # fmt: skip


def quotas(stage: Stage) -> tuple[list[str], list[str]]:
    """Return the quotas that are too low, and those that could not be read."""
    short, unknown = [], []
    service = stage.client("service-quotas")
    for code, number, name, needed, in_use in _wanted(stage.variables):
        try:
            quota = float(service.get_service_quota(ServiceCode=code, QuotaCode=number)["Quota"]["Value"])
            used = in_use(stage.client)
        except (BotoCoreError, ClientError) as error:
            unknown.append(f"The quota of {name} could not be read ({error}): {needed:g} are required.")
            continue
        if quota - used < needed:
            short.append(
                f"The quota of {name} is {quota:g} with {used} in use, but {needed:g} are required: request more with "
                f"`aws service-quotas request-service-quota-increase --service-code {code} --quota-code {number} "
                f"--desired-value {used + needed:g}`."
            )
    return short, unknown
