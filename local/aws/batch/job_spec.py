"""What a Batch job asks for, checked as AWS checks it: command, environment, memory, retries, array."""

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
# What a process needs of its machine to run at all; nothing else of the server's environment reaches a job.
_INHERITED = ("HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "TMPDIR", "TZ", "VIRTUAL_ENV")
_CONDITIONS = ("onExitCode", "onReason", "onStatusReason")
_REFERENCE = re.compile(r"Ref::([A-Za-z0-9_-]+)")


@dataclass(frozen=True)
class RetryRule:
    """One entry of evaluateOnExit: patterns by condition, and whether a match means to retry."""

    patterns: Mapping[str, str]
    retry: bool


@dataclass(frozen=True)
class RetryStrategy:
    """How often a job may be tried, and which of its ends are worth another attempt."""

    attempts: int = 1
    rules: tuple[RetryRule, ...] = ()

    def described(self) -> dict[str, Any]:
        """As DescribeJobs shows it."""
        rules = [{**rule.patterns, "action": "RETRY" if rule.retry else "EXIT"} for rule in self.rules]
        return {"attempts": self.attempts, "evaluateOnExit": rules}


def parse_retry_strategy(raw: Mapping[str, Any] | None) -> RetryStrategy:
    """Reads the retryStrategy of a job or a job definition; ValueError says what AWS refuses."""
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
            raise ValueError(f"evaluateOnExit: {name} may hold an asterisk only at its end, got '{pattern}'")
    if not re.fullmatch(r"\d*\*?", patterns.get("onExitCode", "")):
        raise ValueError(f"evaluateOnExit: onExitCode must be digits, got '{patterns['onExitCode']}'")
    return RetryRule(patterns, retry=action == "RETRY")


def should_retry(
    strategy: RetryStrategy, attempt: int, exit_code: int | None, reason: str | None, status_reason: str
) -> bool:
    """Whether a failed attempt (counted from 1) is followed by another. No rule that matches means yes."""
    if attempt >= strategy.attempts:
        return False
    ends = {
        "onExitCode": "" if exit_code is None else str(exit_code),
        "onReason": reason or "",
        "onStatusReason": status_reason,
    }
    for rule in strategy.rules:
        if all(_matches(pattern, ends[name]) for name, pattern in rule.patterns.items()):
            return rule.retry
    return True


def _matches(pattern: str, value: str) -> bool:
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


def check_array(properties: Mapping[str, Any] | None) -> None:
    """Refuses with ValueError an array that AWS would refuse."""
    size = (properties or {}).get("size")
    if size is not None and size not in ARRAY_SIZES:
        raise ValueError(f"Array size must be between {ARRAY_SIZES[0]} and {ARRAY_SIZES[-1]:,}, got {size}")


def fill_in(command: Iterable[str], parameters: Mapping[str, str]) -> list[str]:
    """Puts parameters in the places of `Ref::name`; a name without a parameter stays as it is, as on AWS."""
    return [_REFERENCE.sub(lambda match: parameters.get(match[1], match[0]), part) for part in command]


def base_environment(settings: Settings, region: str) -> dict[str, str]:
    """What every job finds in its environment, in place of a container image's and a task role's."""
    # `python` must be the one that has the product's packages, whatever PATH the server was started with.
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
    """The credentials of the job's role; a job without one keeps those of the laptop."""
    role = properties.get("jobRoleArn")
    return credentials(role) if role else {}


def merged_environment(*sources: Mapping[str, Any] | None) -> dict[str, str]:
    """The variables of container properties and overrides; what comes later wins."""
    return {
        variable["name"]: variable["value"]
        for source in sources
        for variable in (source or {}).get("environment") or []
    }


def merged_requirements(*sources: Mapping[str, Any] | None) -> dict[str, str]:
    """MEMORY (MiB), VCPU, GPU of properties and overrides; the older `memory` and `vcpus` count too."""
    merged: dict[str, str] = {}
    for source in sources:
        source = source or {}
        for name, older in (("MEMORY", "memory"), ("VCPU", "vcpus")):
            if source.get(older):
                merged[name] = str(source[older])
        merged |= {entry["type"]: str(entry["value"]) for entry in source.get("resourceRequirements") or []}
    return merged
