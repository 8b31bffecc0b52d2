"""The stack itself: up, down, env, definition."""

import shlex
from collections.abc import Mapping

import click

from ratesflow.workflow.cli.context import PORT, CliContext, json_option, print_json, say

API_PORT, AWS_PORT, CONSOLE_PORT = 3000, 4566, 8080


@click.command()
@click.option("--detach", is_flag=True, help="Return as soon as it is up; stop it with `ratesflow down`.")
@click.option("--api-port", type=PORT, default=API_PORT, show_default=True, help="Where the API listens.")
@click.option("--aws-port", type=PORT, default=AWS_PORT, show_default=True, help="Where the embedded AWS listens.")
@click.option("--console-port", type=PORT, default=CONSOLE_PORT, show_default=True, help="Where the console listens.")
@click.pass_obj
def up(context: CliContext, detach: bool, api_port: int, aws_port: int, console_port: int) -> None:
    """Start the embedded stack: PostgreSQL, AWS and the API; no account, no Docker, no network.

    Its data stay in the home. A stack that is up already is left as it is. Port 0 means a free one, which is told.

    \b
    Example:
      ratesflow up --detach

    Exit codes: 0 it is up, 1 it could not start (the message says why).
    """
    from ratesflow.local.stack import up as start

    ports = {"api_port": api_port, "aws_port": aws_port, "console_port": console_port}

    def tell(environment: Mapping[str, str]) -> None:
        say(f"The stack is up in {context.home_folder()}{'' if detach else '; Ctrl-C stops it'}.")
        say(f"  API    {environment['RATESFLOW_API_URL']}")
        say(f"  inbox  {environment['RATESFLOW_INBOX']}")
        say(f"  page   {environment['RATESFLOW_CONSOLE_URL']}")

    if not detach:
        say("Starting the stack here …")
    start(context.home_folder(), **ports, detach=detach, tell=tell, say=say)


@click.command()
@click.pass_obj
def down(context: CliContext) -> None:
    """Stop the embedded stack and all of its processes; its data stay.

    \b
    Example:
      ratesflow down

    Exit codes: 0 nothing runs any more, 1 it could not be stopped.
    """
    from ratesflow.local.stack import down as stop

    running = stop(context.home_folder())
    say("The stack is down." if running else f"No stack was running in {context.home_folder()}.")


@click.command()
@json_option
@click.pass_obj
def env(context: CliContext, as_json: bool) -> None:
    """Print the stack's addresses as export lines, so that any AWS client works against it.

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


@click.command()
def definition() -> None:
    """Print the state machine in the Amazon States Language, with ${…} where a deployment fills names in.

    \b
    Example:
      ratesflow definition > machine.asl.json

    Exit codes: 0 printed.
    """
    from ratesflow.workflow.placeholders import definition_text

    click.echo(definition_text(), nl=False)


COMMANDS = (up, down, env, definition)
