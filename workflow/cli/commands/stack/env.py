"""`ratesflow env`."""

import shlex

import click

from ratesflow.workflow.cli.context import CliContext
from ratesflow.workflow.cli.output import json_option, print_json


@click.command()
@json_option
@click.pass_obj
def env(context: CliContext, as_json: bool) -> None:
    """Print the addresses of the stack as export lines.

    With these variables any AWS client works against the stack.

    \b
    Example:
      eval "$(ratesflow env)"
      aws s3 cp prices.csv "$RATESFLOW_INBOX"

    Exit codes: 0 printed, 69 no stack.
    """
    values = context.environment().values
    if as_json:
        print_json(values)
        return
    for name, value in values.items():
        click.echo(f"export {name}='{value}'" if "'" not in value else f"export {name}={shlex.quote(value)}")
