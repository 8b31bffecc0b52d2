"""The command line, `ratesflow`: one module a family of commands; what is slow is imported where it is used."""

from pathlib import Path
from typing import Any

import click

from ratesflow.workflow.cli import graph, ingest, ledger, rates, sample, stack, watch
from ratesflow.workflow.cli.context import FAILED, GOES_ON, NO_STACK, CliContext

UNREACHABLE = ("EndpointConnectionError", "ConnectionClosedError", "ConnectTimeoutError", "ReadTimeoutError")
CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "NoRegionError",
    "ProfileNotFound",
    "TokenRetrievalError",
)
WORDS = (
    "ApiError",
    "ExecutionMissingError",
    "NotStartedError",
    "S3UploadFailedError",
    "StackError",
    "TaskFailedError",
    "TimeoutError",
)


class CliError(click.ClickException):
    """A failure told in a sentence, with the exit code of its kind."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code  # type: ignore[misc]


class Commands(click.Group):
    """A group that turns the errors which a person can act on into a sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what is not known here is a defect, and keeps its traceback."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            failure = _in_words(error)
            if failure is None:
                raise
            raise failure from error


def _in_words(error: Exception) -> click.ClickException | None:
    """Return an error as it is told, or None. By name, since importing botocore costs a quarter of a second."""
    name = type(error).__name__
    if name in ("EnvironmentMissingError", "ApiAwayError"):
        return CliError(str(error), NO_STACK)
    if name in UNREACHABLE:
        return CliError(f"the stack does not answer ({error}): is it up? See `ratesflow up --detach`.", NO_STACK)
    if name in CREDENTIALS:
        return CliError(f"AWS cannot be used: {error}. Set AWS_PROFILE and AWS_DEFAULT_REGION.", NO_STACK)
    if name == "StillRunningError":
        return CliError(str(error), GOES_ON)
    if name in WORDS:
        return CliError(str(error), FAILED)
    kinds = {base.__name__ for base in type(error).__mro__}
    if "ClientError" in kinds:
        return CliError(f"AWS refuses: {error}", FAILED)
    if "BotoCoreError" in kinds:
        return CliError(f"AWS cannot be asked: {error}", FAILED)
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):  # which click ends quietly
        return CliError(str(error), FAILED)
    return None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--home", type=click.Path(file_okay=False, path_type=Path), help="Folder of an embedded stack.")
@click.option("--env", "env", metavar="NAME", help="Name of an environment on AWS (or RATESFLOW_ENV).")
@click.version_option(package_name="ratesflow", prog_name="ratesflow")
@click.pass_context
def main(ctx: click.Context, home: Path | None, env: str | None) -> None:
    """Load files of freight prices, all of a file or none of it, and ask for their averages.

    Every command speaks to the embedded stack in --home (RATESFLOW_HOME, or .ratesflow), or to the environment
    on AWS that --env (RATESFLOW_ENV) names.

    \b
    Example:
      ratesflow up --detach
      ratesflow sample -n 50000 -o prices.csv
      ratesflow ingest prices.csv

    Exit codes: 0 done, 1 failed, 2 wrong usage, 69 no stack to speak to, 75 it goes on: look again later; ingest,
    validate and stop have more.
    """
    if home and env:
        raise click.UsageError("give --home for an embedded stack or --env for one on AWS, not both")
    ctx.obj = CliContext(home, env)


for family in (stack, ingest, watch, graph, ledger, rates, sample):
    for command in family.COMMANDS:
        main.add_command(command)
