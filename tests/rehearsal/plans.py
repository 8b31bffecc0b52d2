"""Terraform plans, and the check that they do only what is expected."""

import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tests.rehearsal.stage import Stage

Changes = Mapping[str, tuple[str, ...]]


def planned(stage: Stage, file: Path, *variables: str) -> dict[str, Any]:
    """Plan the environment with additional variables, such as `compute=fargate`, and return the plan."""
    given = [f"-var={each}" for each in variables]
    stage.terraform("plan", "-lock-timeout=5m", stage.var_file, *given, f"-out={file}")
    found: dict[str, Any] = json.loads(stage.terraform("show", "-json", str(file)).out)
    return found


def changes_of(plan: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return a plan's actions by address, without resources that it leaves unchanged or only reads."""
    found = {each["address"]: tuple(each["change"]["actions"]) for each in plan.get("resource_changes", [])}
    return {address: actions for address, actions in found.items() if actions not in (("no-op",), ("read",))}


def objections(changes: Changes, may: Iterable[str], stays: Iterable[str] = ()) -> list[str]:
    """Return the objections to a plan, one sentence per resource.

    Only resources that match a pattern of `may` may be created, replaced or deleted; others may be changed in place,
    unless they match a pattern of `stays`.
    """
    found = []
    for address, actions in sorted(changes.items()):
        if _matches(address, stays):
            found.append(f"{address} must not change, but the plan has {_action(actions)} for it")
        elif actions != ("update",) and not _matches(address, may):
            found.append(f"the plan has {_action(actions)} for {address}, which was not expected")
    return found


def counted(changes: Changes) -> dict[str, int]:
    """Return the number of resources that a plan creates, updates, replaces and deletes."""
    found: dict[str, int] = {}
    for actions in changes.values():
        found[_action(actions)] = found.get(_action(actions), 0) + 1
    return found


def _action(actions: tuple[str, ...]) -> str:
    return "replace" if len(actions) == 2 else actions[0]


def _matches(address: str, patterns: Iterable[str]) -> bool:
    # Brackets are part of addresses, but would be character classes in a pattern.
    return any(fnmatchcase(address, pattern.replace("[", "[[]")) for pattern in patterns)
