"""`ratesflow executions`."""

import click

from ratesflow.workflow.cli.context import CliContext
from ratesflow.workflow.cli.execution_output import execution_json
from ratesflow.workflow.cli.output import json_option, print_json, print_table
from ratesflow.workflow.client.history import format_seconds


@click.command()
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Maximum to list.")
@json_option
@click.pass_obj
def executions(context: CliContext, limit: int, as_json: bool) -> None:
    """List the latest executions, one for each batch, newest first.

    The column took is the time from start to end, including waits. Times are in UTC.

    \b
    Example:
      ratesflow executions --limit 5

    Exit codes: 0 listed, 69 no stack.
    """
    from ratesflow.workflow.client.executions import list_executions

    found = list_executions(context.environment(), limit)
    if as_json:
        print_json([execution_json(execution) for execution in found])
        return
    rows = [
        (e.started, e.outcome, e.answer.get("rows"), format_seconds(e.seconds), e.name, e.input.get("key"))
        for e in found
    ]
    print_table(("started", "outcome", "rows", "took", "execution", "key"), rows, right=("rows", "took"))
