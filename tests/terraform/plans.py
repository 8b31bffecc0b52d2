"""Plans of changes on an applied environment, without an account."""

import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.terraform.replaced import replaces

# The working copy of the command in RATESFLOW_TERRAFORM_CHECK: terraform/ in `work`, beside the
# Terraform configuration with its providers.
KEPT = re.compile(r"kept: (\S+)")


@dataclass(frozen=True)
class Change:
    """The addresses of resources in a plan, by action."""

    replaced: frozenset[str]
    deleted: frozenset[str]
    created: frozenset[str]
    updated: frozenset[str]


class PlanRejectedError(Exception):
    """Terraform rejected the plan; the message is its output on one line."""


class AppliedEnvironment:
    """An applied environment; `folder` is the command's working copy, `variables` those of the apply."""

    def __init__(self, folder: Path, environment: str, variables: Iterable[str]) -> None:
        self.folder, self.environment, self.variables = folder, environment, list(variables)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run Terraform in the working copy."""
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))},
            "TF_CLI_CONFIG_FILE": str(self.folder / "terraformrc"),
            "TF_OFFLINE_ROOT": str(self.folder / "work"),
            "CHECKPOINT_DISABLE": "1",
            "TF_IN_AUTOMATION": "1",
            "TF_WORKSPACE": self.environment,
        }
        command = [os.environ.get("TERRAFORM", "terraform"), *arguments]
        return subprocess.run(
            command, cwd=self.folder / "work" / "terraform", env=environ, capture_output=True, text=True, check=False
        )

    def plan(self, changed: Mapping[str, Any]) -> Change:
        """Plan with some variables changed, without an apply. Raises PlanRejectedError."""
        given = [f"-var={name}={_text(value)}" for name, value in changed.items()]
        done = self.run("plan", "-no-color", "-input=false", "-out=flip.tfplan", *self.variables, *given)
        if done.returncode:
            raise PlanRejectedError(" ".join(re.sub("[│╷╵]", " ", done.stderr).split()))
        return change(json.loads(self.run("show", "-json", "flip.tfplan").stdout))

    def state(self) -> Any:
        """Return the state in the format of `terraform show -json`."""
        return json.loads(self.run("show", "-json").stdout)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def change(plan: Mapping[str, Any]) -> Change:
    """Read a plan from `terraform show -json PLAN`; what cannot be changed in place counts as replaced."""
    by_action: dict[str, set[str]] = {"replace": set(), "delete": set(), "create": set(), "update": set()}
    for each in plan["resource_changes"]:
        if each["mode"] != "managed":
            continue
        actions = each["change"]["actions"]
        action = "replace" if len(actions) == 2 else actions[0]
        if action == "update" and each["type"].startswith("aws_") and _replaces(each):
            action = "replace"
        by_action.get(action, set()).add(each["address"])
    sets = {action: frozenset(addresses) for action, addresses in by_action.items()}
    return Change(sets["replace"], sets["delete"], sets["create"], sets["update"])


def _replaces(each: Mapping[str, Any]) -> bool:
    change = each["change"]
    return bool(replaces(each["type"], change["before"], change["after"], change["after_unknown"] or {}))
