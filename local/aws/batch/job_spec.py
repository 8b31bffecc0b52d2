"""The specification of a Batch job, validated as on AWS: command, environment, memory, retries, array."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ratesflow.local.aws.iam.roles import credentials
from ratesflow.local.aws.settings import Settings

# https://docs.aws.amazon.com/batch/latest/userguide/array_jobs.html
ARRAY_SIZES = range(2, 10_001)
# https://docs.aws.amazon.com/batch/latest/APIReference/API_RetryStrategy.html
ATTEMPTS = range(1, 11)
MAX_RETRY_RULES = 5
# The only variables of the server's environment that a job inherits: a process cannot run without them.
_INHERITED = ("HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "TMPDIR", "TZ", "VIRTUAL_ENV")
_CONDITIONS = ("onExitCode", "onReason", "onStatusReason")
_REFERENCE = re.compile(r"Ref::([A-Za-z0-9_-]+)")


@dataclass(frozen=True)
class RetryRule:
    """One entry of evaluateOnExit: patterns by condition, and whether a match causes a retry."""

    patterns: Mapping[str, str]
    retry: bool


@dataclass(frozen=True)
class RetryStrategy:
    """How many attempts a job has, and which failures are retried."""

    attempts: int = 1
    rules: tuple[RetryRule, ...] = ()

    def description(self) -> dict[str, Any]:
        """Return the strategy in the format of DescribeJobs."""
        rules = [{**rule.patterns, "action": "RETRY" if rule.retry else "EXIT"} for rule in self.rules]
        return {"attempts": self.attempts, "evaluateOnExit": rules}


def parse_retry_strategy(raw: Mapping[str, Any] | None) -> RetryStrategy:
    """Parse the retryStrategy of a job or a job definition. Raises ValueError for what AWS rejects."""
    raw = raw or {}
    attempts = int(raw.get("attempts") or 1)
    if attempts not in ATTEMPTS:
        raise ValueError(f"Error executing request, retryStrategy.attempts must be 1 to 10, got {attempts}")
    entries = raw.get("evaluateOnExit") or []
    if len(entries) > MAX_RETRY_RULES:
        raise ValueError(f"evaluateOnExit must have at most {MAX_RETRY_RULES} entries, got {len(entries)}")
    return RetryStrategy(attempts, tuple(_parse_rule(entry) for entry in entries))


def _parse_rule(entry: Mapping[str, str]) -> RetryRule:
    action = entry.get("action", "").upper()
    if action not in ("RETRY", "EXIT"):
        raise ValueError(f"evaluateOnExit: action must be RETRY or EXIT, got '{entry.get('action')}'")
    patterns = {name: entry[name] for name in _CONDITIONS if entry.get(name)}
    for name, pattern in patterns.items():
        if "*" in pattern[:-1]:
            raise ValueError(f"evaluateOnExit: {name} may have an asterisk only at its end, got '{pattern}'")
    if not re.fullmatch(r"\d*\*?", patterns.get("onExitCode", "")):
        raise ValueError(f"evaluateOnExit: onExitCode must be digits, got '{patterns['onExitCode']}'")
    return RetryRule(patterns, retry=action == "RETRY")


def should_retry(
    strategy: RetryStrategy, attempt: int, exit_code: int | None, reason: str | None, status_reason: str
) -> bool:
    """Return whether a failed attempt (counted from 1) is retried. Without a matching rule it is."""
    if attempt >= strategy.attempts:
        return False
    conditions = {
        "onExitCode": "" if exit_code is None else str(exit_code),
        "onReason": reason or "",
        "onStatusReason": status_reason,
    }
    for rule in strategy.rules:
        if all(_matches(pattern, conditions[name]) for name, pattern in rule.patterns.items()):
            return rule.retry
    return True


def _matches(pattern: str, value: str) -> bool:
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


def check_array(properties: Mapping[str, Any] | None) -> None:
    """Raise ValueError for an array size that AWS rejects."""
    size = (properties or {}).get("size")
    if size is not None and size not in ARRAY_SIZES:
        raise ValueError(f"Array size must be between {ARRAY_SIZES[0]} and {ARRAY_SIZES[-1]:,}, got {size}")


def substitute_parameters(command: Iterable[str], parameters: Mapping[str, str]) -> list[str]:
    """Replace each `Ref::name` by its parameter; a name without a parameter is left unchanged, as on AWS."""
    return [_REFERENCE.sub(lambda match: parameters.get(match[1], match[0]), part) for part in command]


def base_environment(settings: Settings, region: str) -> dict[str, str]:
    """Return the environment of every job, in place of the container image's and the task role's."""
    # `python` must be the one with the product's packages, whatever the server's PATH is.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return (
        {name: os.environ[name] for name in _INHERITED if name in os.environ}
        | {
            "PATH": path,
            "PYTHONUNBUFFERED": "1",  # lines reach the log as they are written
            "AWS_ENDPOINT_URL": settings.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
        }
        | dict(settings.job_environment)
    )


def role_environment(properties: Mapping[str, Any]) -> dict[str, str]:
    """Return the credentials of the job's role; a job without a role keeps the developer's."""
    role = properties.get("jobRoleArn")
    return credentials(role) if role else {}


def merged_environment(*sources: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the variables of container properties and overrides; later sources take precedence."""
    return {
        variable["name"]: variable["value"]
        for source in sources
        for variable in (source or {}).get("environment") or []
    }


def merged_requirements(*sources: Mapping[str, Any] | None) -> dict[str, str]:
    """Return MEMORY (MiB), VCPU and GPU of properties and overrides, including the older `memory` and `vcpus`."""
    merged: dict[str, str] = {}
    for source in sources:
        source = source or {}
        for name, older in (("MEMORY", "memory"), ("VCPU", "vcpus")):
            if source.get(older):
                merged[name] = str(source[older])
        merged |= {entry["type"]: str(entry["value"]) for entry in source.get("resourceRequirements") or []}
    return merged
