"""`ratesflow undo`."""

import click

from ratesflow.workflow.cli.autocompletion import complete_execution
from ratesflow.workflow.cli.context import CliContext
from ratesflow.workflow.cli.database_task import print_result, run_database_task
from ratesflow.workflow.cli.output import json_option


@click.command()
@click.argument("batch", shell_complete=complete_execution)
@json_option
@click.pass_obj
def undo(context: CliContext, batch: str, as_json: bool) -> None:
    """Remove a committed batch, exactly and in one transaction.

    Its file may then be ingested again. Undoing a batch that is already undone has no effect.

    \b
    Example:
      ratesflow undo prices-2021-01-0123456789abcdef

    Exit codes: 0 undone, 1 there is no such batch or it was never committed, 69 no stack, 75 the task still runs.
    """
    if not batch.strip():
        raise click.BadParameter("name the batch to undo: see `ratesflow batches`", param_hint="BATCH")
    print_result(run_database_task(context.environment(), "undo", {"batch": batch}), as_json)
