"""Job definitions and a state machine whose tasks have other environment variables than in a deployment."""

import json
from typing import Any

from ratesflow.workflow.placeholders import definition_text

TASKS = ("validate", "load", "commit", "discard")
# The approximate number of fault points of each task: `wait:N` with a larger N never suspends it.
POINTS = {"validate": 26, "load": 34, "commit": 20, "discard": 16, "undo": 16, "compact": 24, "gc": 14, "reference": 40}
# Batch terminates a job after this time, in rounds with short timeouts.
SHORT_TIMEOUT_SECONDS = 10


def overridden_definition(s3: str, point: tuple[str, int] | None, short_timeout: bool) -> str:
    """Return the definition with other environment variables for its tasks."""
    machine = json.loads(definition_text())
    for name, state in machine["States"].items():
        if "batch:submitJob" not in state.get("Resource", ""):
            continue
        variables = {"AWS_ENDPOINT_URL_S3": s3}
        if point and name.removesuffix("Shards").lower() == point[0]:
            variables["RATESFLOW_FAULT_INJECTION"] = f"wait:{point[1]}"
        parameters = state["Parameters"]
        parameters["ContainerOverrides"] = {"Environment": [{"Name": n, "Value": v} for n, v in variables.items()]}
        if short_timeout:
            parameters["Timeout"] = {"AttemptDurationSeconds": SHORT_TIMEOUT_SECONDS}
    return json.dumps(machine)


def override_job(batch: Any, task: str, number: int) -> None:
    """Make a task outside the state machine suspend itself at a fault point, from its next job on."""
    found = batch.describe_job_definitions(jobDefinitionName=f"ratesflow-{task}", status="ACTIVE")
    latest = max(found["jobDefinitions"], key=lambda each: each["revision"])
    container = latest["containerProperties"]
    variables = [*container["environment"], {"name": "RATESFLOW_FAULT_INJECTION", "value": f"wait:{number}"}]
    fields = ("jobDefinitionName", "type", "parameters", "retryStrategy", "timeout")
    batch.register_job_definition(
        **{name: latest[name] for name in fields}, containerProperties=container | {"environment": variables}
    )
