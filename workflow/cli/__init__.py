"""The command line, `ratesflow`: each command is a file in `commands`; what is slow to import is imported on use."""

from pathlib import Path

import click

from ratesflow.workflow.cli.commands.registry import COMMANDS
from ratesflow.workflow.cli.context import CliContext
from ratesflow.workflow.cli.errors import ErrorHandlingGroup


@click.group(cls=ErrorHandlingGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--home", type=click.Path(file_okay=False, path_type=Path), help="Folder of an embedded stack.")
@click.option("--env", "env", metavar="NAME", help="Name of an environment on AWS (or RATESFLOW_ENV).")
@click.version_option(package_name="ratesflow", prog_name="ratesflow")
@click.pass_context
def main(ctx: click.Context, home: Path | None, env: str | None) -> None:
    """Load files of freight prices, all of a file or none of it, and query their averages.

    Every command uses the embedded stack in --home (RATESFLOW_HOME, or .ratesflow), or the environment on AWS that
    --env (RATESFLOW_ENV) names.

    \b
    Example:
      ratesflow up --detach
      ratesflow sample -n 50000 -o prices.csv
      ratesflow ingest prices.csv

    Exit codes: 0 done, 1 failed, 2 wrong usage, 69 no stack is running or it does not respond, 75 still running:
    check again later. ingest, validate and stop have more.
    """
    if home and env:
        raise click.UsageError("give --home for an embedded stack or --env for one on AWS, not both")
    ctx.obj = CliContext(home, env)


for command in COMMANDS:
    main.add_command(command)
