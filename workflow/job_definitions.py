"""The AWS Batch job definitions: one per task, with its command, its size and what is retried.

Tasks are declared in `loader/tasks/`; `python -m ratesflow.loader.job_definitions` writes `job_definitions.json` from
the declarations. Terraform reads that file, and so does this module, for the state machine, the commands and the
embedded stack. Batch retries what is transient; the state machine retries only calls of the Batch service itself.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEFINITIONS_FILE = Path(__file__).with_name("job_definitions.json")

ENTRY_POINT = ("python", "-P", "-m", "ratesflow.loader")
"""What starts a task, before its own command: the entry point of the loader's image."""


@dataclass(frozen=True)
class Task:
    """A task as its declaration in `loader/tasks/` describes it."""

    name: str
    help: str
    of_batch: bool
    sharded: bool
    outcomes: tuple[str, ...]
    login: str
    permissions: tuple[str, ...]
    vcpus: float
    memory_mib: int
    run_seconds: int
    attempts: int
    command: tuple[str, ...]
    required: tuple[str, ...]
    defaults: Mapping[str, str]


def _read() -> tuple[dict[str, Task], list[dict[str, str]]]:
    document = json.loads(DEFINITIONS_FILE.read_text(encoding="utf-8"))
    return {name: _task(name, fields) for name, fields in document["tasks"].items()}, document["retry_rules"]


def _task(name: str, fields: Mapping[str, Any]) -> Task:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    return Task(name, **values)


TASKS, RETRY_RULES = _read()
"""The tasks by name, and when Batch tries a job again."""

BATCH_TASKS = tuple(task for task in TASKS.values() if task.of_batch)
"""The tasks of a batch, which the state machine runs. The others run by themselves."""


@dataclass(frozen=True)
class JobSettings:
    """What the job definitions of one deployment share. `environment` goes into every container."""

    prefix: str = "ratesflow"
    image: str = "ratesflow-loader"
    environment: Mapping[str, str] = field(default_factory=dict)
    job_role_arn: str | None = None
    execution_role_arn: str | None = None
    log_group: str | None = None


def job_name(prefix: str, task: str) -> str:
    """Return the name of a task's job definition."""
    return f"{prefix}-{task}"


def job_definitions(settings: JobSettings) -> list[dict[str, Any]]:
    """Return the RegisterJobDefinition requests of all tasks, named `PREFIX-TASK`."""
    return [job_definition(settings, task) for task in TASKS.values()]


def job_definition(settings: JobSettings, task: Task) -> dict[str, Any]:
    """Return the RegisterJobDefinition request of a task."""
    return {
        "jobDefinitionName": job_name(settings.prefix, task.name),
        "type": "container",
        "parameters": dict(task.defaults),
        "containerProperties": _container(settings, task),
        "retryStrategy": {"attempts": task.attempts, "evaluateOnExit": RETRY_RULES},
        "timeout": {"attemptDurationSeconds": task.run_seconds},
        "propagateTags": True,
    }


def _container(settings: JobSettings, task: Task) -> dict[str, Any]:
    container: dict[str, Any] = {
        "image": settings.image,
        "command": [*ENTRY_POINT, *task.command],
        "environment": [{"name": name, "value": value} for name, value in settings.environment.items()],
        "resourceRequirements": [
            {"type": "VCPU", "value": f"{task.vcpus:g}"},
            {"type": "MEMORY", "value": str(task.memory_mib)},
        ],
    }
    if settings.job_role_arn:
        container["jobRoleArn"] = settings.job_role_arn
    if settings.execution_role_arn:
        container["executionRoleArn"] = settings.execution_role_arn
    if settings.log_group:
        options = {"awslogs-group": settings.log_group, "awslogs-stream-prefix": task.name}
        container["logConfiguration"] = {"logDriver": "awslogs", "options": options}
    return container
