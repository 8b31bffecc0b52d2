"""The roles of the embedded stack: one per part, with the policies that Terraform gives it on AWS.

`aws/policies.json` holds them; tests/terraform/policies.py writes it from what Terraform applies, and a test keeps the
two the same. Tasks with the same login and permissions have the same policy, which the file holds once: a task that is
added needs nothing of its own there. `aws iam put-role-policy` changes what a part of a running stack may do.
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
# They act for AWS itself: they start containers, and write logs that the embedded AWS writes without asking.
ELSEWHERE = ("start-", "flow-logs", "rds-monitoring")
TASK_PLACEHOLDERS = {"${batch_task}": True, "${upkeep_task}": False}
"""What stands in a resource for the name of each task of a batch, and of each other task."""


def role_arn(part: str) -> str:
    """Return the ARN of the role of a part, such as `trigger` or `task-load`."""
    return f"arn:aws:iam::{ACCOUNT}:role/{PREFIX}-{part}"


def role_key(part: str) -> str:
    """Return the access key of a part's role."""
    return access_key(role_arn(part))


def credentials(part: str) -> dict[str, str]:
    """Return the environment variables with which a process acts as a part."""
    return credentials_of(role_arn(part))


def roles() -> dict[str, dict[str, Any]]:
    """Return the roles of all parts, each with its `policies` and mostly a `trust`, with `${…}` placeholders.

    Raises LookupError for a task with a combination of login and permissions that the file does not have.
    """
    document: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    by_rights = {(role["login"], *role["permissions"]): role for role in document["tasks"]}
    found = {part: _with_tasks(role) for part, role in document["roles"].items()}
    for task in TASKS.values():
        rights = (task.login, *task.permissions)
        if rights not in by_rights:
            raise LookupError(
                f"{FILE.name} has no task with the rights {rights}: run python -m tests.terraform.policies"
            )
        found[f"task-{task.name}"] = {key: by_rights[rights][key] for key in ("policies", "trust")}
    return dict(sorted(found.items()))


def _with_tasks(role: dict[str, Any]) -> dict[str, Any]:
    """Return a role with the names of tasks in place of `${batch_task}` and `${upkeep_task}`."""
    for policy in role["policies"].values():
        for statement in policy["Statement"]:
            if isinstance(statement["Resource"], list):
                statement["Resource"] = [each for name in statement["Resource"] for each in _of_tasks(name)]
    return role


def _of_tasks(resource: str) -> list[str]:
    for place, of_batch in TASK_PLACEHOLDERS.items():
        if place in resource:
            return [resource.replace(place, task.name) for task in TASKS.values() if task.of_batch is of_batch]
    return [resource]


def policies(secrets: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield part, name and text of every policy, with the names of the embedded AWS for its placeholders.

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
    for part, role in roles().items():
        for name, document in role["policies"].items():
            yield part, name, re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], json.dumps(document))


def make_roles(iam: Any, secrets: Mapping[str, str]) -> None:
    """Make the roles, or give those that are there their policies again."""
    made = set()
    for part, name, document in policies(secrets):
        if part.startswith(ELSEWHERE):
            continue
        parse(document)  # raises, here rather than at its first use, for what the embedded AWS cannot evaluate
        if part not in made:
            _make(iam, part)
            made.add(part)
        iam.put_role_policy(RoleName=f"{PREFIX}-{part}", PolicyName=name, PolicyDocument=document)


def _make(iam: Any, part: str) -> None:
    try:
        iam.create_role(RoleName=f"{PREFIX}-{part}", AssumeRolePolicyDocument="{}")
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityAlreadyExists":
            raise
