"""`ratesflow show`."""

import sys

import click

from ratesflow.workflow.cli.autocompletion import complete_execution
from ratesflow.workflow.cli.context import INTERRUPTED, CliContext
from ratesflow.workflow.cli.execution_output import execution_json, print_execution, step_json
from ratesflow.workflow.cli.output import json_option, print_json
from ratesflow.workflow.cli.progress import Progress
from ratesflow.workflow.client.executions import get_execution, get_steps, job_log, wait_for_end


@click.command()
@click.argument("execution", shell_complete=complete_execution)
@click.option("--follow", is_flag=True, help="Watch it until it ends.")
@click.option(
    "--lines", type=click.IntRange(min=0), default=10, show_default=True, help="Lines to print of a failed job's log."
)
@json_option
@click.pass_obj
def show(context: CliContext, execution: str, follow: bool, lines: int, as_json: bool) -> None:
    """Show an execution: its steps, why it failed, what to do next.

    EXECUTION is a name or an ARN.

    \b
    Example:
      ratesflow show prices-2021-01-0123456789abcdef

    Exit codes: 0 shown, 1 there is no execution of that name, 69 no stack, 130 Ctrl-C.
    """
    environment = context.environment()
    if follow:
        with Progress() as progress:
            row = progress.row()
            try:
                wait_for_end(environment, execution, lambda steps: row.steps(environment, steps))
            except KeyboardInterrupt:
                progress.print(f"Stopped watching; it continues. Watch it with: ratesflow show --follow {execution}")
                sys.exit(INTERRUPTED)
    steps, found = get_steps(environment, execution), get_execution(environment, execution)
    logs = {step.name: job_log(environment, step, lines) for step in steps if step.job_id and (step.error or as_json)}
    if as_json:
        as_steps = [step_json(step, logs.get(step.name)) for step in steps]
        print_json(execution_json(found) | {"input": found.input, "steps": as_steps})
        return
    print_execution(environment, found, steps, logs)
