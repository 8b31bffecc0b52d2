"""`ratesflow redrive`."""

import sys
from dataclasses import asdict

import click

from ratesflow.workflow.cli.context import FAILED, CliContext
from ratesflow.workflow.cli.output import echo, json_option, notice, print_json


@click.command()
@json_option
@click.pass_obj
def redrive(context: CliContext, as_json: bool) -> None:
    """Retry the events in the dead-letter queue.

    An event that still cannot be handled stays in the queue; its reason is printed.

    \b
    Example:
      ratesflow redrive

    Exit codes: 0 the queue is empty, 1 events remain, 69 no stack.
    """
    from ratesflow.workflow.client.start import redrive as retry_dead_letters

    remaining = 0
    for message in retry_dead_letters(context.environment()):
        remaining += not message.handled
        if as_json:
            print_json(asdict(message))
        else:
            echo(f"started {message.execution}" if message.execution else f"{message.message_id}: {message.reason}")
    notice(f"{remaining} messages remain in the dead-letter queue." if remaining else "The dead-letter queue is empty.")
    sys.exit(FAILED if remaining else 0)
