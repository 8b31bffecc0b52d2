"""Generates local/aws/policies.json: the policies that Terraform gives each component, for the embedded AWS.

    python -m tests.terraform.policies [STATE.json PRE-INFRA.json]

The files are the output of `terraform show -json` for an applied environment and for pre-infra. Without them,
RATESFLOW_TERRAFORM_CHECK (see test_checks.py) applies both without an account, with the variables of production.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ratesflow.local.roles import TASK_PLACEHOLDERS
from ratesflow.workflow.job_definitions import TASKS
from tests.terraform.sources import ROOT, TERRAFORM
from tests.terraform.test_checks import CHECK, GIVEN, check

FILE = ROOT / "local" / "aws" / "policies.json"
COMMAND = "python -m tests.terraform.policies"
WORKSPACE = "local"


def export(state: Mapping[str, Any], pre_infra: Mapping[str, Any]) -> dict[str, Any]:
    """Return the roles and policies of two states by short name, with placeholders for names of the embedded AWS."""
    found = list(_resources(state["values"]["root_module"]))
    pipeline = list(_resources(pre_infra["values"]["root_module"]))
    text = json.dumps({**_roles(found), "ci": _pipeline(pipeline)}, sort_keys=True)
    for real, placeholder in _replacements(found):
        text = text.replace(real, placeholder)
    roles = {part: _without_tasks(role) for part, role in json.loads(text).items()}
    tasks = {task.name: roles.pop(f"task-{task.name}") for task in TASKS.values()}
    return {"sources": digest(), "roles": roles, "tasks": list(_by_rights(tasks))}


def _by_rights(roles: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the role of each combination of login and permissions, which must have one policy."""
    found: dict[tuple[str, ...], Any] = {}
    for name, role in roles.items():
        task = TASKS[name]
        rights = (task.login, *task.permissions)
        assert found.setdefault(rights, role) == role, f"{name} has the rights {rights}, but another policy"
    for (login, *permissions), role in sorted(found.items()):
        yield {"login": login, "permissions": permissions, **role}


def _without_tasks(role: dict[str, Any]) -> dict[str, Any]:
    """Return a role with one placeholder in place of resources that are listed for each task."""
    for policy in role["policies"].values():
        for statement in policy["Statement"]:
            for placeholder, of_batch in TASK_PLACEHOLDERS.items():
                names = [task.name for task in TASKS.values() if task.of_batch is of_batch]
                statement["Resource"] = _folded(statement["Resource"], placeholder, names)
    return role


def _folded(resources: Any, placeholder: str, names: list[str]) -> Any:
    if isinstance(resources, list):
        for start in [each.removesuffix(names[0]) for each in resources if each.endswith(f"-{names[0]}")]:
            for end in ("", ":*"):
                listed = [f"{start}{name}{end}" for name in names]
                if set(listed) <= set(resources):
                    others = [each for each in resources if each not in listed]
                    resources = [*others, f"{start}{placeholder}{end}"]
    return resources


def digest() -> str:
    """Return the digest of the Terraform blocks that define roles and policies, without comments and spaces.

    It is stored in the file, so that an outdated file is detected without Terraform.
    """
    blocks = [
        block for path in [*sorted(TERRAFORM.glob("*.tf")), TERRAFORM / "pre-infra" / "ci_commands.tf"]
        for block in re.split(r"\n(?=\S)", path.read_text(encoding="utf-8"))
        if path.name.startswith(("iam_", "ci_")) or block.startswith('resource "aws_iam_')
    ]  # fmt: skip
    written = "".join(re.sub(r"#.*|\s", "", block) for block in blocks)
    return hashlib.sha256(written.encode()).hexdigest()


def text(document: Mapping[str, Any]) -> str:
    """Return the text of the file."""
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _resources(module: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from _resources(child)


def _roles(found: list[Mapping[str, Any]]) -> dict[str, Any]:
    start = f"{_environment(found)}-"
    roles = {
        values["name"]: {"trust": json.loads(values["assume_role_policy"]), "policies": {}}
        for values in _of("aws_iam_role", found)
    }
    for values in _of("aws_iam_role_policy", found):
        roles[values["role"]]["policies"][values["name"]] = json.loads(values["policy"])
    # A policy that operators attach to their own role is a role here.
    for values in _of("aws_iam_policy", found):
        roles[values["name"]] = {"policies": {"attached": json.loads(values["policy"])}}
    return {name.removeprefix(start): role for name, role in roles.items()}


def _pipeline(found: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the policy of the pipeline's `aws` commands; that of Terraform is not used here."""
    (commands,) = [values for values in _of("aws_iam_role_policy", found) if values["name"] == "commands"]
    return {"policies": {"commands": json.loads(commands["policy"])}}


def _of(kind: str, found: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [resource["values"] for resource in found if resource["type"] == kind and resource["mode"] == "managed"]


def _environment(found: list[Mapping[str, Any]]) -> str:
    """Return the prefix of an environment's role names."""
    (name,) = [values["name"] for values in _of("aws_iam_role", found) if values["name"].endswith("-state-machine")]
    return str(name).removesuffix("-state-machine")


def _replacements(found: list[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return parts of this environment's ARNs and their placeholders, longer ones first."""
    (bucket,) = [values for values in _of("aws_s3_bucket", found) if "-batches-" in values["bucket"]]
    (key,) = [values["arn"] for values in _of("aws_kms_key", found)]
    (logs,) = [values["name"] for values in _of("aws_cloudwatch_log_group", found) if values["name"].endswith("/tasks")]
    (arrivals,) = [values for values in _of("aws_sqs_queue", found) if values["name"].endswith("-arrivals")]
    name, (_, _, _, region, account, _) = arrivals["name"].removesuffix("-arrivals"), arrivals["arn"].split(":", 5)
    queues = [queue["arn"] for queue in _of("aws_batch_job_queue", found)]
    secrets = {
        values["arn"]: f"${{{values['name'].rpartition('/')[2]}_secret}}"
        for values in _of("aws_secretsmanager_secret", found)
    }
    owners = [
        cluster["master_user_secret"][0]["secret_arn"]
        for kind in ("aws_rds_cluster", "aws_db_instance")
        for cluster in _of(kind, found)
        if cluster.get("master_user_secret")
    ]
    placeholders = {
        **secrets,
        **dict.fromkeys(owners, "${owner_secret}"),
        key: "${key}",
        f"job-queue/{name}": "job-queue/${job_queue}",
        f"service/{name}/": "service/${prefix}-${environment}/",
        f"role/{_environment(found)}-*": "role/${prefix}-*",
        bucket["bucket"]: "${bucket}",
        **dict.fromkeys(queues, "${queue}"),
        f":log-group:{logs}": ":log-group:${log_group}",
        f"/ratesflow/{name.removeprefix('ratesflow-')}": "/ratesflow/${environment}",
        name: "${prefix}",
        f":{region}:{account}:": ":${region}:${account}:",
        f"::{account}:": "::${account}:",
    }
    return sorted(placeholders.items(), key=lambda pair: -len(pair[0]))


def applied() -> tuple[dict[str, Any], dict[str, Any]]:
    """Apply an environment and pre-infra without an account; return their states."""
    production = ["--workspace", WORKSPACE, "--var-file", str(TERRAFORM / "environments" / "production.tfvars")]
    pipeline = ["--var", "gitlab_project=group/project", "--var", f'environments=[{{name="{WORKSPACE}"}}]']
    return _applied(TERRAFORM, WORKSPACE, *GIVEN, *production), _applied(TERRAFORM / "pre-infra", "default", *pipeline)


def _applied(folder: Path, workspace: str, *arguments: str) -> dict[str, Any]:
    if not CHECK:
        sys.exit(f"Name a state, or set RATESFLOW_TERRAFORM_CHECK.\n{__doc__}")
    options = ["--quick", "--keep", "--no-tests", "--no-modules", "--no-fmt"]
    status, output = check(*options, *arguments, folder=folder)
    assert status == 0, output
    (kept,) = re.findall(r"kept: (\S+)", output)
    try:
        command = ["terraform", f"-chdir={kept}/work/{folder.relative_to(ROOT)}", "show", "-json"]
        environment = _environ(workspace) | {
            "TF_CLI_CONFIG_FILE": f"{kept}/terraformrc",
            "TF_OFFLINE_ROOT": f"{kept}/work",
        }
        shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return dict(json.loads(shown.stdout))
    finally:
        shutil.rmtree(kept)


def _environ(workspace: str) -> dict[str, str]:
    import os

    return {**os.environ, "CHECKPOINT_DISABLE": "1", "TF_WORKSPACE": workspace}


def main(arguments: list[str]) -> None:
    """Write the file."""
    states = [json.loads(Path(each).read_text()) for each in arguments] or applied()
    FILE.write_text(text(export(*states)), encoding="utf-8")
    print(f"{FILE.relative_to(ROOT)}: {len(export(*states)['roles'])} roles")


if __name__ == "__main__":
    main(sys.argv[1:])
