"""The graph of an execution, from its definition and history in Step Functions."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.executions import Execution, execution_arn, get_execution, get_steps
from ratesflow.workflow.client.history import Step, format_seconds
from ratesflow.workflow.diagram.graph import Graph, execution_graph
from ratesflow.workflow.placeholders import definition_text


def draw_execution(environment: Environment, name: str) -> Graph:
    """Return the graph of an execution by its name or ARN. Raises ExecutionMissingError."""
    execution = get_execution(environment, name)
    return graph_of(environment, execution, get_steps(environment, name))


def graph_of(environment: Environment, execution: Execution, steps: Sequence[Step]) -> Graph:
    """Return the graph of an execution that was already read, on its own definition."""
    took = f" in {format_seconds(execution.seconds)}" if execution.seconds is not None else ""
    rows = execution.answer.get("rows")
    count = f", {rows:,} rows" if isinstance(rows, int) else ""
    title = f"{execution.name}: {execution.outcome}{count}{took}"
    return execution_graph(_definition(environment, execution.name), steps, title)


def _definition(environment: Environment, name: str) -> Mapping[str, Any]:
    """Return the definition of an execution; the packaged one where the caller may not read it."""
    from botocore.exceptions import ClientError

    client = environment.client("stepfunctions")
    try:
        found = client.describe_state_machine_for_execution(executionArn=execution_arn(environment, name))
    except ClientError:
        found = {"definition": definition_text()}
    definition: Mapping[str, Any] = json.loads(found["definition"])
    return definition
