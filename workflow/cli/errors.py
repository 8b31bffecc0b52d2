"""Turns errors that a person can act on into a sentence and an exit code."""

from typing import Any

import click

from ratesflow.extras import MissingExtraError, requires_extra
from ratesflow.workflow.cli.context import FAILED, NO_STACK
from ratesflow.workflow.client.errors import RatesflowError

# Errors of boto3 and botocore go by name: importing botocore takes a quarter of a second.
UNREACHABLE = ("EndpointConnectionError", "ConnectionClosedError", "ConnectTimeoutError", "ReadTimeoutError")
CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "NoRegionError",
    "ProfileNotFound",
    "TokenRetrievalError",
)


class CliError(click.ClickException):
    """A failure with its message and its exit code."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code  # type: ignore[misc]


class ErrorHandlingGroup(click.Group):
    """A group that reports expected errors as a message; an unexpected one keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            with requires_extra("cli", "This command"):
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            failure = cli_error(error)
            if failure is None:
                raise
            raise failure from error


def cli_error(error: Exception) -> click.ClickException | None:
    """Return an expected error with its exit code; None for any other."""
    if isinstance(error, RatesflowError):
        return CliError(str(error), error.exit_code)
    if isinstance(error, MissingExtraError):
        return CliError(str(error), FAILED)
    name = type(error).__name__
    if name in UNREACHABLE:
        return CliError(f"the stack does not answer ({error}): is it up? See `ratesflow up --detach`.", NO_STACK)
    if name in CREDENTIALS:
        return CliError(f"AWS cannot be used: {error}. Set AWS_PROFILE and AWS_DEFAULT_REGION.", NO_STACK)
    if name == "S3UploadFailedError":
        return CliError(str(error), FAILED)
    bases = {base.__name__ for base in type(error).__mro__}
    if "ClientError" in bases:
        return CliError(f"AWS rejected the request: {error}", FAILED)
    if "BotoCoreError" in bases:
        return CliError(f"AWS request failed: {error}", FAILED)
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):  # click ends quietly on a broken pipe
        return CliError(str(error), FAILED)
    return None
