"""What a shell completes beside commands, options and files: the names of executions, hence of batches."""

import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from ratesflow.workflow.cli.context import CliContext

MOST = 100


def complete_execution(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """Return the latest executions of the embedded stack whose names begin so, newest first.

    Nothing for an environment on AWS, where asking takes longer than a person waits for a key, and nothing when
    the stack cannot be asked: a shell that completes has no place for a message.
    """
    given = context.find_root().params
    if given.get("env") or os.environ.get("RATESFLOW_ENV"):
        return []
    try:
        environment = CliContext(_path(given.get("home")), None).environment()
        if not environment.is_local:
            return []
        machine = environment.state_machine_arn
        found = environment.client("stepfunctions").list_executions(stateMachineArn=machine, maxResults=MOST)
    except Exception:  # noqa: BLE001 see above
        return []
    listed = sorted(found["executions"], key=lambda one: one["startDate"], reverse=True)
    return [CompletionItem(one["name"]) for one in listed if one["name"].startswith(begun)]


def _path(given: object) -> Path | None:
    return Path(str(given)) if given else None
