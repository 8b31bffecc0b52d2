"""Definitions of jobs and of the state machine whose tasks are given other environments than in a deployment."""

import json
from typing import Any

from ratesflow.workflow.placeholders import definition_text

TASKS = ("validate", "load", "commit", "discard")
# How many points each task passes, about: `wait:N` with a larger N never stops it.
POINTS = {"validate": 26, "load": 34, "commit": 20, "discard": 16, "undo": 16, "compact": 24, "gc": 14, "reference": 40}
# A job that stands still for longer than this is ended by Batch, in the rounds that have a limit.
HURRIED_SECONDS = 10


def struck_definition(s3: str, point: tuple[str, int] | None, hurried: bool) -> str:
    """Return the definition, with other environments for its tasks."""
    machine = json.loads(definition_text())
    for name, state in machine["States"].items():
        if "batch:submitJob" not in state.get("Resource", ""):
            continue
        variables = {"AWS_ENDPOINT_URL_S3": s3}
        if point and name.removesuffix("Shards").lower() == point[0]:
            variables["RATESFLOW_FAULT_INJECTION"] = f"wait:{point[1]}"
        given = state["Parameters"]
        given["ContainerOverrides"] = {"Environment": [{"Name": n, "Value": v} for n, v in variables.items()]}
        if hurried:
            given["Timeout"] = {"AttemptDurationSeconds": HURRIED_SECONDS}
    return json.dumps(machine)


def strike_job(batch: Any, task: str, number: int) -> None:
    """Let a task that is no part of the state machine stand still at a fault point, from its next job on."""
    found = batch.describe_job_definitions(jobDefinitionName=f"ratesflow-{task}", status="ACTIVE")
    usual = max(found["jobDefinitions"], key=lambda each: each["revision"])
    container = usual["containerProperties"]
    variables = [*container["environment"], {"name": "RATESFLOW_FAULT_INJECTION", "value": f"wait:{number}"}]
    fields = ("jobDefinitionName", "type", "parameters", "retryStrategy", "timeout")
    batch.register_job_definition(
        **{name: usual[name] for name in fields}, containerProperties=container | {"environment": variables}
    )
