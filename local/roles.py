"""The roles of the embedded stack: one per component, with the policies that Terraform gives it on AWS.

`aws/policies.json` holds them. tests/terraform/policies.py generates it from what Terraform applies, and a test
compares the two. Tasks with the same login and permissions share one policy in the file, so that a new task needs no
entry. `aws iam put-role-policy` changes the permissions of a component of a running stack.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from ratesflow.local.aws.iam.keys import key_arn
from ratesflow.local.aws.iam.policy import parse
from ratesflow.local.aws.iam.roles import access_key
from ratesflow.local.aws.iam.roles import credentials as credentials_of
from ratesflow.local.names import ACCOUNT, BUCKET, ENVIRONMENT, JOB_QUEUE, LOG_GROUP, PREFIX, REGION, arn
from ratesflow.workflow.job_definitions import TASKS

FILE = Path(__file__).parent / "aws" / "policies.json"
# Used by AWS services: they start containers, and write logs that the embedded AWS writes without a policy check.
ONLY_ON_AWS = ("start-", "flow-logs", "rds-monitoring")
TASK_PLACEHOLDERS = {"${batch_task}": True, "${upkeep_task}": False}
"""Placeholders in a resource: the name of each task of a batch (True), and of each other task (False)."""


def role_arn(component: str) -> str:
    """Return the ARN of the role of a component, such as `trigger` or `task-load`."""
    return f"arn:aws:iam::{ACCOUNT}:role/{PREFIX}-{component}"


def role_key(component: str) -> str:
    """Return the access key of a component's role."""
    return access_key(role_arn(component))


def credentials(component: str) -> dict[str, str]:
    """Return the environment variables that give a process the role of a component."""
    return credentials_of(role_arn(component))


def roles() -> dict[str, dict[str, Any]]:
    """Return the roles of all components, each with `policies` and usually `trust`, with `${…}` placeholders.

    Raises LookupError for a task whose combination of login and permissions is not in the file.
    """
    document: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    by_rights = {(role["login"], *role["permissions"]): role for role in document["tasks"]}
    found = {component: _with_tasks(role) for component, role in document["roles"].items()}
    for task in TASKS.values():
        rights = (task.login, *task.permissions)
        if rights not in by_rights:
            raise LookupError(
                f"{FILE.name} has no task with the rights {rights}: run python -m tests.terraform.policies"
            )
        found[f"task-{task.name}"] = {key: by_rights[rights][key] for key in ("policies", "trust")}
    return dict(sorted(found.items()))


def _with_tasks(role: dict[str, Any]) -> dict[str, Any]:
    """Return a role with task names in place of `${batch_task}` and `${upkeep_task}`."""
    for policy in role["policies"].values():
        for statement in policy["Statement"]:
            if isinstance(statement["Resource"], list):
                statement["Resource"] = [each for name in statement["Resource"] for each in _of_tasks(name)]
    return role


def _of_tasks(resource: str) -> list[str]:
    for placeholder, of_batch in TASK_PLACEHOLDERS.items():
        if placeholder in resource:
            return [resource.replace(placeholder, task.name) for task in TASKS.values() if task.of_batch is of_batch]
    return [resource]


def policies(secrets: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield component, name and text of every policy, with its placeholders replaced by names of the embedded AWS.

    `secrets` are the ARNs of the logins' secrets, by user.
    """
    values = {
        "account": ACCOUNT,
        "bucket": BUCKET,
        "environment": ENVIRONMENT,
        "job_queue": JOB_QUEUE,
        "key": key_arn(REGION, ACCOUNT),
        "log_group": LOG_GROUP,
        "prefix": PREFIX,
        "queue": arn("batch", f"job-queue/{JOB_QUEUE}"),
        "region": REGION,
        **{f"{user}_secret": arn("secretsmanager", f"secret:{user}") for user in ("owner", "loader", "reader")},
        **{f"{user}_secret": secret for user, secret in secrets.items()},
    }
    for component, role in roles().items():
        for name, document in role["policies"].items():
            yield component, name, re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], json.dumps(document))


def make_roles(iam: Any, secrets: Mapping[str, str]) -> None:
    """Create the roles that do not exist, and set the policies of all."""
    created = set()
    for component, name, document in policies(secrets):
        if component.startswith(ONLY_ON_AWS):
            continue
        parse(document)  # raises here, not at its first use, for what the embedded AWS cannot evaluate
        if component not in created:
            _create(iam, component)
            created.add(component)
        iam.put_role_policy(RoleName=f"{PREFIX}-{component}", PolicyName=name, PolicyDocument=document)


def _create(iam: Any, component: str) -> None:
    try:
        iam.create_role(RoleName=f"{PREFIX}-{component}", AssumeRolePolicyDocument="{}")
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityAlreadyExists":
            raise
