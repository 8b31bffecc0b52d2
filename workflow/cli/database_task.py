"""Runs what touches the database as a task, and prints its result."""

from typing import Any

from ratesflow.workflow.cli.output import echo, notice, print_json
from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.history import format_seconds


def run_database_task(environment: Environment, task: str, arguments: dict[str, str]) -> dict[str, Any]:
    """Run a task, show the status of its job, and return its result document."""
    from ratesflow.workflow.cli.progress import Progress
    from ratesflow.workflow.client.run_task import run_task

    with Progress() as progress:
        row = progress.row()
        return run_task(environment, task, arguments, progress=lambda status: row.show(task, None, status.lower()))


def print_result(document: dict[str, Any], as_json: bool) -> None:
    """Print a result document: its message, and how long the task worked."""
    if as_json:
        print_json(document)
        return
    echo(document.get("message") or document["outcome"])
    if document.get("seconds"):
        notice(f"worked {format_seconds(document['seconds'])}")
