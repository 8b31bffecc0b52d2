"""Evaluates identity policies: what is allowed, and by which statements.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html. moto's own evaluation is not
used: it takes a condition that does not hold for a denial, and treats names as regular expressions.
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
    """A policy uses what is not evaluated here; the text says what. It never passes in silence."""


@dataclass(frozen=True)
class Ask:
    """One question to the policies: may this action be done to this resource?"""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Statement:
    """One statement of a policy, ready to be asked."""

    sid: str
    allows: bool
    actions: tuple[Matches, ...]
    resources: tuple[Matches, ...]
    conditions: tuple[tuple[str, tuple[Matches, ...]], ...]

    def concerns(self, ask: Ask) -> bool:
        """Tell whether the statement speaks of it: action, resource and every condition match."""
        return (
            any(matches(ask.action.lower()) for matches in self.actions)
            and any(matches(ask.resource) for matches in self.resources)
            and all(
                key in ask.context and any(matches(ask.context[key]) for matches in wanted)
                for key, wanted in self.conditions
            )
        )


@dataclass(frozen=True)
class Decision:
    """Whether something is allowed, and the statements that allow it (or deny it)."""

    allowed: bool
    sids: tuple[str, ...] = ()


def decide(statements: Iterable[Statement], ask: Ask) -> Decision:
    """Return what the statements say together: a denial beats every permission, and silence denies."""
    concerned = [statement for statement in statements if statement.concerns(ask)]
    denying = tuple(statement.sid for statement in concerned if not statement.allows)
    if denying:
        return Decision(False, denying)
    return Decision(bool(concerned), tuple(statement.sid for statement in concerned))


@lru_cache(maxsize=256)
def parse(document: str) -> tuple[Statement, ...]:
    """Return the statements of a policy document. Raises UnsupportedPolicyError."""
    written = _listed(json.loads(document).get("Statement", []))
    return tuple(_statement(number, one) for number, one in enumerate(written))


def _statement(number: int, written: Mapping[str, Any]) -> Statement:
    if unknown := sorted(set(written) - _ELEMENTS):
        raise UnsupportedPolicyError(f"the embedded AWS evaluates no {', '.join(unknown)} in a policy")
    conditions = [
        (key, tuple(_condition(operator, value) for value in _listed(values)))
        for operator, wanted in written.get("Condition", {}).items()
        for key, values in wanted.items()
    ]
    return Statement(
        sid=written.get("Sid") or f"#{number}",
        allows=written["Effect"] == "Allow",
        actions=tuple(_pattern(action.lower()) for action in _listed(written["Action"])),
        resources=tuple(_pattern(resource) for resource in _listed(written["Resource"])),
        conditions=tuple(conditions),
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _pattern(text: str) -> Matches:
    """`*` is any number of characters, colons and slashes too, and `?` is one."""
    if "${" in text:
        raise UnsupportedPolicyError(f"the embedded AWS knows no variables in policies, such as in {text}")
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
    raise UnsupportedPolicyError(f"the embedded AWS evaluates no condition {operator}")
