"""The global options, which every command gets, and the exit codes."""

import os
from dataclasses import dataclass
from pathlib import Path

import click

from ratesflow.workflow.client.environment import DEFAULT_HOME, Environment, find_environment

COMMITTED, FAILED, REJECTED, DUPLICATE, TOO_LATE, NO_STACK, UNFINISHED, INTERRUPTED = 0, 1, 3, 4, 5, 69, 75, 130
"""The exit codes, beside click's own 2 for wrong usage. The help of each command lists those that it uses."""

PORT = click.IntRange(0, 65535)
"""The type of an option that names a port; 0 selects a free port."""


@dataclass(frozen=True)
class CliContext:
    """The global options: the home of an embedded stack, or the name of an environment on AWS."""

    home: Path | None
    env: str | None

    def environment(self) -> Environment:
        """Return the addresses of the stack. Raises EnvironmentMissingError when there is none."""
        return find_environment(self.home, self.env)

    def home_folder(self) -> Path:
        """Return the folder of the embedded stack, for `up` and `down`, which do not apply to AWS."""
        if self.env:
            raise click.UsageError(f"{self.env} is an environment on AWS, which is managed by Terraform")
        return self.home or Path(os.environ.get("RATESFLOW_HOME") or DEFAULT_HOME)
