"""`ratesflow up`."""

from collections.abc import Mapping

import click

from ratesflow.extras import requires_extra
from ratesflow.workflow.cli.context import PORT, CliContext
from ratesflow.workflow.cli.output import notice

API_PORT, AWS_PORT, CONSOLE_PORT = 3000, 4566, 8080


@click.command()
@click.option("--detach", is_flag=True, help="Return as soon as it is up; stop it with `ratesflow down`.")
@click.option("--api-port", type=PORT, default=API_PORT, show_default=True, help="Port of the API.")
@click.option("--aws-port", type=PORT, default=AWS_PORT, show_default=True, help="Port of the embedded AWS.")
@click.option("--console-port", type=PORT, default=CONSOLE_PORT, show_default=True, help="Port of the console.")
@click.pass_obj
def up(context: CliContext, detach: bool, api_port: int, aws_port: int, console_port: int) -> None:
    """Start the embedded stack: PostgreSQL, AWS, API and console.

    It needs no account, no Docker and no network. Its data is kept in --home. A stack that is already up is left
    unchanged. Port 0 picks a free port and prints it.

    \b
    Example:
      ratesflow up --detach

    Exit codes: 0 it is up, 1 it could not start (the message has the reason).
    """
    with requires_extra("local", "The embedded stack"):
        from ratesflow.local.stack import up as start

    ports = {"api_port": api_port, "aws_port": aws_port, "console_port": console_port}
    home = context.home_folder()

    def print_addresses(environment: Mapping[str, str]) -> None:
        notice(f"The stack is up in {home}{'' if detach else '; Ctrl-C stops it'}.")
        notice(f"  API      {environment['RATESFLOW_API_URL']}")
        notice(f"  inbox    {environment['RATESFLOW_INBOX']}")
        notice(f"  console  {environment['RATESFLOW_CONSOLE_URL']}")

    if not detach:
        notice("Starting the stack …")
    start(home, **ports, detach=detach, on_ready=print_addresses, on_progress=notice)
