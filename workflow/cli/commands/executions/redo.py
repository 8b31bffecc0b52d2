"""`ratesflow redo`."""

import click

from ratesflow.workflow.cli.autocompletion import complete_execution
from ratesflow.workflow.cli.context import CliContext
from ratesflow.workflow.cli.execution_output import print_started
from ratesflow.workflow.cli.output import json_option


@click.command()
@click.argument("execution", shell_complete=complete_execution)
@json_option
@click.pass_obj
def redo(context: CliContext, execution: str, as_json: bool) -> None:
    """Run an ended execution again, under a new name.

    The new execution is linked to the first by `redo_of`.

    \b
    Example:
      ratesflow redo prices-2021-01-0123456789abcdef

    Exit codes: 0 started, 1 there is no execution of that name or it is still running, 69 no stack.
    """
    from ratesflow.workflow.client.start import rerun

    environment = context.environment()
    print_started(environment, rerun(environment, execution), as_json)
