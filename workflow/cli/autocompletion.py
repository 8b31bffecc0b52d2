"""Shell completion of the names of executions, which are the names of batches."""

import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from ratesflow.workflow.cli.context import CliContext

MAX_NAMES = 100


def complete_execution(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the latest executions of the embedded stack whose names start with the text, newest first.

    Return nothing for an environment on AWS, which responds too slowly for completion, and nothing when the stack
    cannot be reached: a shell that completes cannot show a message.
    """
    options = context.find_root().params
    if options.get("env") or os.environ.get("RATESFLOW_ENV"):
        return []
    try:
        environment = CliContext(_path(options.get("home")), None).environment()
        if not environment.is_local:
            return []
        machine = environment.state_machine_arn
        found = environment.client("stepfunctions").list_executions(stateMachineArn=machine, maxResults=MAX_NAMES)
    except Exception:  # noqa: BLE001 see above
        return []
    listed = sorted(found["executions"], key=lambda one: one["startDate"], reverse=True)
    return [CompletionItem(one["name"]) for one in listed if one["name"].startswith(incomplete)]


def _path(value: object) -> Path | None:
    return Path(str(value)) if value else None
