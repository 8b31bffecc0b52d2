"""`ratesflow gc`."""

import click

from ratesflow.workflow.cli.autocompletion import complete_execution
from ratesflow.workflow.cli.context import CliContext
from ratesflow.workflow.cli.database_task import print_result, run_database_task
from ratesflow.workflow.cli.output import json_option


@click.command()
@click.option("--batch", default="all", show_default=True, shell_complete=complete_execution, help="Only this batch.")
@json_option
@click.pass_obj
def gc(context: CliContext, batch: str, as_json: bool) -> None:
    """Discard abandoned batches and start files whose event was lost.

    A batch is abandoned when its execution was stopped or timed out and it is still open in the ledger. gc also starts
    files in the inbox whose event was lost. It also runs on a schedule; running it twice has no further effect.

    \b
    Example:
      ratesflow gc

    Exit codes: 0 done, 1 the task failed, 69 no stack, 75 the task still runs.
    """
    print_result(run_database_task(context.environment(), "gc", {"batch": batch}), as_json)
