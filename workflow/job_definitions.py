"""The AWS Batch job definitions: one a task, with its command, its size and what is retried.

The embedded stack registers them as they stand here; Terraform reads them from `job_definitions.json`, which
`python -m ratesflow.workflow.job_definitions` writes. Batch retries what is transient (`JOB_RETRY_STRATEGY`);
the state machine retries only calls of the Batch service itself.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEFINITIONS_FILE = Path(__file__).with_name("job_definitions.json")

ATTEMPTS = 3
"""How often Batch runs a job at most."""

# The exit codes of `python -m ratesflow.loader`: 0 done, 64 usage, 65 closed or changed under us, 70 internal,
# 75 transient. 1* is a process that did not end by itself: 1 from its own watchdog, 128 and a number by a signal, such
# as 137 by SIGKILL, from an instance that went away. A Fargate Spot task gets SIGTERM first, which the loader
# answers with 75.
# Batch allows five rules, globs only at their ends, and *no match means RETRY*. The last rule therefore ends
# every job that gave an exit code at all. A job without one never ran (the image could not be pulled, no
# network interface, no secret): it matches nothing and is tried again, within ATTEMPTS.
JOB_RETRY_STRATEGY: dict[str, Any] = {
    "attempts": ATTEMPTS,
    "evaluateOnExit": [
        {"action": "RETRY", "onExitCode": "75"},
        {"action": "RETRY", "onExitCode": "1*"},
        {"action": "RETRY", "onStatusReason": "Host EC2*"},
        {"action": "RETRY", "onStatusReason": "Your Spot Task was interrupted*"},
        {"action": "EXIT", "onExitCode": "*"},
    ],
}

BATCH_TASKS = ("validate", "load", "commit", "discard")
"""The tasks of the state machine: they are about one batch."""

MAINTENANCE_TASKS: dict[str, dict[str, str]] = {
    "reference": {"ports": "", "regions": ""},
    "ledger": {"limit": "100", "state": "all", "batch": "all"},
    "migrate": {},
    "gc": {"batch": "all"},
    "compact": {"min_batches": "1"},
    "undo": {"batch": ""},
}
"""The tasks that `run_task` runs by themselves, with the arguments of each and their defaults.

An empty default is an argument that must be given. `all` means every batch; `min_batches` is how many batches must be
open for a compaction to be worth it.
"""

RUN_SECONDS: dict[str, int] = {
    "validate": 3600,
    "load": 3600,
    "commit": 1800,
    "discard": 600,
    "reference": 3600,
    "ledger": 300,
    "migrate": 3600,
    "gc": 3600,
    "compact": 3600,
    "undo": 3600,
}
"""How long one attempt of a task may run, in seconds (`attemptDurationSeconds`; Batch allows 60 at least)."""

DEFAULT_SIZE = ("0.5", "1024")
SIZES: dict[str, tuple[str, str]] = dict.fromkeys(("validate", "load", "undo"), ("1", "2048"))
"""vCPUs and MiB of the tasks that read a batch; the others take DEFAULT_SIZE (both are Fargate sizes)."""


@dataclass(frozen=True)
class JobSettings:
    """What the job definitions of one deployment share. `environment` goes into every container."""

    prefix: str = "ratesflow"
    image: str = "ratesflow-loader"
    environment: Mapping[str, str] = field(default_factory=dict)
    job_role_arn: str | None = None
    execution_role_arn: str | None = None
    log_group: str | None = None


def job_definitions(settings: JobSettings) -> list[dict[str, Any]]:
    """Return the RegisterJobDefinition requests of all tasks, named `PREFIX-TASK`."""
    tasks = [*BATCH_TASKS, *MAINTENANCE_TASKS]
    return [_job_definition(settings, task) for task in tasks]


def definitions_text() -> str:
    """Return what `job_definitions.json` holds: the requests without anything of a deployment's own."""
    return json.dumps(job_definitions(JobSettings()), indent=2) + "\n"


def job_name(prefix: str, task: str) -> str:
    """Return the name of a task's job definition."""
    return f"{prefix}-{task}"


def task_command(task: str) -> list[str]:
    """Return the command of a task's container; Batch replaces each `Ref::name` by the job's parameter."""
    arguments = _arguments(task)
    flags = [part for name in arguments for part in (f"--{name.replace('_', '-')}", f"Ref::{name}")]
    return ["python", "-P", "-m", "ratesflow.loader", task, *flags]


def task_defaults(task: str) -> dict[str, str]:
    """Return the parameters that a job of this task need not be given."""
    return {name: value for name, value in _arguments(task).items() if value}


def _arguments(task: str) -> dict[str, str]:
    if task in MAINTENANCE_TASKS:
        return {"run": "", **MAINTENANCE_TASKS[task]}
    return {"bucket": "", "key": "", "version": "null", "batch_id": "", "execution": "", "shards": "1"}


def _job_definition(settings: JobSettings, task: str) -> dict[str, Any]:
    return {
        "jobDefinitionName": job_name(settings.prefix, task),
        "type": "container",
        "parameters": task_defaults(task),
        "containerProperties": _container(settings, task),
        "retryStrategy": JOB_RETRY_STRATEGY,
        "timeout": {"attemptDurationSeconds": RUN_SECONDS[task]},
        "propagateTags": True,
    }


def _container(settings: JobSettings, task: str) -> dict[str, Any]:
    vcpu, memory = SIZES.get(task, DEFAULT_SIZE)
    container: dict[str, Any] = {
        "image": settings.image,
        "command": task_command(task),
        "environment": [{"name": name, "value": value} for name, value in settings.environment.items()],
        "resourceRequirements": [
            {"type": "VCPU", "value": vcpu},
            {"type": "MEMORY", "value": memory},
        ],
    }
    if settings.job_role_arn:
        container["jobRoleArn"] = settings.job_role_arn
    if settings.execution_role_arn:
        container["executionRoleArn"] = settings.execution_role_arn
    if settings.log_group:
        options = {"awslogs-group": settings.log_group, "awslogs-stream-prefix": task}
        container["logConfiguration"] = {"logDriver": "awslogs", "options": options}
    return container


if __name__ == "__main__":
    DEFINITIONS_FILE.write_text(definitions_text(), encoding="utf-8")
