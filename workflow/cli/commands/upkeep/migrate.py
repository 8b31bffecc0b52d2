"""`ratesflow migrate`."""

import click

from ratesflow.workflow.cli.context import CliContext
from ratesflow.workflow.cli.database_task import print_result, run_database_task
from ratesflow.workflow.cli.output import json_option


@click.command()
@json_option
@click.pass_obj
def migrate(context: CliContext, as_json: bool) -> None:
    """Bring the schema of the database up to date.

    Running it twice has no further effect.

    \b
    Example:
      ratesflow --env prod migrate

    Exit codes: 0 up to date, 1 the task failed, 69 no stack, 75 the task still runs.
    """
    print_result(run_database_task(context.environment(), "migrate", {}), as_json)
