"""`ratesflow compact`."""

import click

from ratesflow.workflow.cli.context import CliContext
from ratesflow.workflow.cli.database_task import print_result, run_database_task
from ratesflow.workflow.cli.output import json_option


@click.command()
@click.option(
    "--min-batches",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Skip if fewer than this many batches are uncompacted.",
)
@json_option
@click.pass_obj
def compact(context: CliContext, min_batches: int, as_json: bool) -> None:
    """Merge the rates of committed batches, which keeps reads fast.

    It also runs on a schedule, if 16 or more batches are uncompacted. Readers see the same rates throughout and never
    block.

    \b
    Example:
      ratesflow compact

    Exit codes: 0 done, 1 the task failed, 69 no stack, 75 the task still runs.
    """
    arguments = {"min_batches": str(min_batches)}
    print_result(run_database_task(context.environment(), "compact", arguments), as_json)
