"""`ratesflow down`."""

import click

from ratesflow.extras import requires_extra
from ratesflow.workflow.cli.context import CliContext
from ratesflow.workflow.cli.output import notice


@click.command()
@click.pass_obj
def down(context: CliContext) -> None:
    """Stop the embedded stack and all of its processes.

    Its data is kept.

    \b
    Example:
      ratesflow down

    Exit codes: 0 stopped, or not running, 1 it could not be stopped.
    """
    with requires_extra("local", "The embedded stack"):
        from ratesflow.local.stack import down as stop

    running = stop(context.home_folder())
    notice("The stack is down." if running else f"No stack was running in {context.home_folder()}.")
