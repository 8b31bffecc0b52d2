"""`ratesflow stop`."""

import sys

import click

from ratesflow.workflow.cli.autocompletion import complete_execution
from ratesflow.workflow.cli.context import FAILED, TOO_LATE, CliContext
from ratesflow.workflow.cli.output import echo, json_option, print_json
from ratesflow.workflow.cli.progress import Progress
from ratesflow.workflow.client.executions import OPEN


@click.command()
@click.argument("execution", shell_complete=complete_execution)
@json_option
@click.pass_obj
def stop(context: CliContext, execution: str, as_json: bool) -> None:
    """Stop an execution and discard what it has loaded.

    A batch that is already committed stays committed.

    \b
    Example:
      ratesflow stop prices-2021-01-0123456789abcdef

    Exit codes: 0 no row of the batch is visible, 1 there is no execution of that name, or the batch could not be
    discarded, 5 too late: it is committed, 69 no stack, 75 the discard task still runs.
    """
    from ratesflow.workflow.client.stop import stop as stop_batch

    with Progress() as progress:
        row = progress.row()
        stopped = stop_batch(context.environment(), execution, lambda status: row.show("discard", None, status.lower()))
    if as_json:
        print_json({"batch_id": stopped.batch_id, "outcome": stopped.outcome, "message": stopped.message})
    else:
        echo(stopped.message)
    sys.exit({"committed": TOO_LATE, OPEN: FAILED}.get(stopped.outcome, 0))
