"""Evaluates identity policies: whether an action is allowed, and by which statements.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html. moto's own evaluation is not
used: it treats an unmet condition as a denial, and names as regular expressions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

Matches = Callable[[str], bool]
_ELEMENTS = {"Sid", "Effect", "Action", "Resource", "Condition"}


class UnsupportedPolicyError(ValueError):
    """A policy uses an element that is not supported; the message names it. It is never ignored silently."""


@dataclass(frozen=True)
class Permission:
    """What a request needs: an action on a resource, in a context."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Statement:
    """One statement of a policy, compiled."""

    sid: str
    allows: bool
    actions: tuple[Matches, ...]
    resources: tuple[Matches, ...]
    conditions: tuple[tuple[str, tuple[Matches, ...]], ...]

    def applies_to(self, permission: Permission) -> bool:
        """Return whether action, resource and every condition match."""
        return (
            any(matches(permission.action.lower()) for matches in self.actions)
            and any(matches(permission.resource) for matches in self.resources)
            and all(
                key in permission.context and any(matches(permission.context[key]) for matches in wanted)
                for key, wanted in self.conditions
            )
        )


@dataclass(frozen=True)
class Decision:
    """Whether something is allowed, and the statements that allow it (or deny it)."""

    allowed: bool
    sids: tuple[str, ...] = ()


def decide(statements: Iterable[Statement], permission: Permission) -> Decision:
    """Return the decision of all statements: an explicit deny overrides any allow, and the default is deny."""
    applying = [statement for statement in statements if statement.applies_to(permission)]
    denying = tuple(statement.sid for statement in applying if not statement.allows)
    if denying:
        return Decision(False, denying)
    return Decision(bool(applying), tuple(statement.sid for statement in applying))


@lru_cache(maxsize=256)
def parse(document: str) -> tuple[Statement, ...]:
    """Return the statements of a policy document. Raises UnsupportedPolicyError."""
    entries = _listed(json.loads(document).get("Statement", []))
    return tuple(_statement(number, entry) for number, entry in enumerate(entries))


def _statement(number: int, entry: Mapping[str, Any]) -> Statement:
    if unknown := sorted(set(entry) - _ELEMENTS):
        raise UnsupportedPolicyError(f"the embedded AWS does not support {', '.join(unknown)} in a policy")
    conditions = [
        (key, tuple(_condition(operator, value) for value in _listed(values)))
        for operator, wanted in entry.get("Condition", {}).items()
        for key, values in wanted.items()
    ]
    return Statement(
        sid=entry.get("Sid") or f"#{number}",
        allows=entry["Effect"] == "Allow",
        actions=tuple(_pattern(action.lower()) for action in _listed(entry["Action"])),
        resources=tuple(_pattern(resource) for resource in _listed(entry["Resource"])),
        conditions=tuple(conditions),
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _pattern(text: str) -> Matches:
    """Return a matcher: `*` is any number of characters, including colons and slashes, and `?` is one."""
    if "${" in text:
        raise UnsupportedPolicyError(f"the embedded AWS does not support variables in policies, such as in {text}")
    pieces = [{"*": ".*", "?": "."}.get(piece, re.escape(piece)) for piece in re.split(r"([*?])", text)]
    matches = re.compile("".join(pieces), re.DOTALL).fullmatch
    return lambda value: matches(value) is not None


def _condition(operator: str, value: str) -> Matches:
    match operator:
        case "StringEquals":
            return lambda given: given == value
        case "StringLike" | "ArnLike" | "ArnEquals":
            return _pattern(value)
        case "Bool":
            return lambda given: given.lower() == str(value).lower()
    raise UnsupportedPolicyError(f"the embedded AWS does not support the condition {operator}")
