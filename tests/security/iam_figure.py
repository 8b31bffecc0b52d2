"""The figure of least privilege: calls made, calls allowed, and permissions that are never used.

`python -m tests.security.iam_figure [HOME]` prints the figure of the stack in HOME (.ratesflow).
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from ratesflow.local.names import PREFIX
from ratesflow.local.roles import ONLY_ON_AWS, roles
from tests.local.conftest import Stack

Right = tuple[str, str, str]
"""A component, the Sid of a statement of its policies, and an action of the statement."""

UNUSED: dict[Right, str] = {
    ("start-*", "*", "*"): "ECS starts the containers; here tasks are processes, without images and log drivers",
    ("flow-logs", "*", "*"): "the network exists on AWS only",
    ("ci", "*", "*"): "tests/ci/test_ci_role.py checks these",
    ("scheduler", "Key", "kms:Decrypt"): "EventBridge Scheduler itself reads its encrypted schedules",
    ("scheduler", "NotBegun", "sqs:SendMessage"): "EventBridge Scheduler itself sends events that it could not deliver",
    ("scheduler", "Redeploy", "ecs:UpdateService"): "here the API is not an ECS service",
    ("state-machine", "WaitForJobs", "events:*"): "Step Functions itself creates the rule for events of ended jobs",
    ("state-machine", "Logs", "logs:*"): "Step Functions itself delivers the logs",
    ("state-machine", "Traces", "xray:*"): "Step Functions itself sends traces",
    ("trigger", "Arrivals", "sqs:GetQueueAttributes"): "AWS Lambda itself reads the length of the queue",
    ("trigger", "Logs", "logs:*"): "AWS Lambda itself writes the log",
    ("trigger", "Traces", "xray:*"): "AWS Lambda itself sends traces",
    ("task-validate", "Write*", "s3:AbortMultipartUpload"): "only interrupted uploads need it",
    ("operator", "Send", "s3:AbortMultipartUpload"): "only interrupted uploads need it",
}
"""Permissions that are not used here, with the reason for each. Shell patterns."""


@dataclass(frozen=True)
class Figure:
    """Calls by decision, and rights by use."""

    made: int
    allowed: int
    denied: list[dict[str, Any]]
    granted: set[Right]
    used: set[Right]

    @property
    def excepted(self) -> set[Right]:
        """Return the unused rights that are listed with a reason."""
        return {right for right in self.granted - self.used if any(_covers(pattern, right) for pattern in UNUSED)}

    @property
    def never_used(self) -> set[Right]:
        """Return the unused rights without a listed reason."""
        return self.granted - self.used - self.excepted

    @property
    def obsolete(self) -> set[Right]:
        """Return listed patterns that match no unused right."""
        unused = self.granted - self.used
        needed = {pattern for pattern in UNUSED if any(_covers(pattern, right) for right in unused)}
        return set(UNUSED) - needed

    def __str__(self) -> str:
        """Return the figure as a table."""
        lines = [
            ("calls made", self.made),
            ("calls allowed", self.allowed),
            ("calls denied", self.made - self.allowed),
            ("rights granted (role, statement, action)", len(self.granted)),
            ("rights used", len(self.used)),
            (f"allowed and never used, for one of {len(UNUSED)} reasons", len(self.excepted)),
            ("allowed and never used, for no reason", len(self.never_used)),
        ]
        return "\n".join(f"| {words} | {number:,} |" for words, number in lines)


def figure(calls: Iterable[dict[str, Any]]) -> Figure:
    """Return the figure of the calls that an embedded AWS has recorded."""
    ours = [call for call in calls if call["role"].startswith(f"{PREFIX}-")]
    allowed = [call for call in ours if call["allowed"]]
    used = {(call["role"].removeprefix(f"{PREFIX}-"), sid, call["action"]) for call in allowed for sid in call["sids"]}
    return Figure(
        made=sum(call["count"] for call in ours),
        allowed=sum(call["count"] for call in allowed),
        denied=[call for call in ours if not call["allowed"]],
        granted=granted(),
        used=used & granted(),
    )


def granted() -> set[Right]:
    """Return every right that Terraform grants."""
    return {
        (part, statement.get("Sid", ""), action)
        for part, role in roles().items()
        for policy in role["policies"].values()
        for statement in policy["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }


def acting() -> list[str]:
    """Return the components with rights that act in the embedded AWS."""
    return sorted({part for part, _, _ in granted() if not part.startswith((*ONLY_ON_AWS, "ci"))})


def calls_of(stack: Stack) -> list[dict[str, Any]]:
    """Return the calls that the embedded AWS of a stack has recorded."""
    with urlopen(f"{stack.environment['AWS_ENDPOINT_URL']}/moto-api/iam-calls", timeout=10) as response:
        return list(json.load(response))


def _covers(pattern: Right, right: Right) -> bool:
    return all(fnmatchcase(part, wanted) for part, wanted in zip(right, pattern, strict=True))


if __name__ == "__main__":
    home = Path(sys.argv[1] if len(sys.argv) > 1 else ".ratesflow")
    found = figure(json.loads((home / "aws" / "iam-calls.json").read_text()))
    print(found)
    for right in sorted(found.never_used):
        print("never used:", *right)
    for call in found.denied:
        print("denied:", call["role"], call["action"], call["resource"])
