"""Finds the stack that a command uses: the embedded one, one on AWS, or the one that variables name.

An environment is a flat map of names to values, the lines that `ratesflow env` prints. It comes from

1. `HOME/environment.json`, which the embedded stack writes while it is up (HOME: `--home`, RATESFLOW_HOME, or
   `.ratesflow`);
2. SSM parameters under `/ratesflow/NAME/`, which Terraform writes (NAME: `--env`, RATESFLOW_ENV). A name
   becomes a parameter in lower case, with hyphens, without `RATESFLOW_`: RATESFLOW_STATE_MACHINE_ARN is
   `/ratesflow/NAME/state-machine-arn`, DATABASE_URL would be `/ratesflow/NAME/database-url`;
3. the environment variables of those names, when RATESFLOW_STATE_MACHINE_ARN is set and no home exists.

Flags take precedence over variables, and RATESFLOW_ENV over RATESFLOW_HOME.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratesflow.workflow.client.errors import EnvironmentMissingError

if TYPE_CHECKING:
    from ratesflow.workflow.client.aws_clients import AwsClients

DEFAULT_HOME = Path(".ratesflow")
FILE_NAME = "environment.json"

NEEDED = (
    "RATESFLOW_BUCKET",
    "RATESFLOW_INBOX",
    "RATESFLOW_STATE_MACHINE_ARN",
    "RATESFLOW_JOB_QUEUE",
    "RATESFLOW_LOG_GROUP",
    "RATESFLOW_TOPIC_ARN",
    "RATESFLOW_API_URL",
    "RATESFLOW_QUEUE_URL",
    "RATESFLOW_DEAD_LETTER_QUEUE_URL",
    "RATESFLOW_JOB_PREFIX",
)
"""Names that every environment has."""

LOCAL_ONLY = (
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_DEFAULT_REGION",
    "RATESFLOW_CONSOLE_URL",
    "RATESFLOW_OPERATOR_KEY",
    "DATABASE_URL",
)
"""Names that only the embedded stack has; on AWS the caller's own credentials and region are used."""

OPTIONAL = (
    "RATESFLOW_STATE_MACHINE_ALIAS_ARN",
    "RATESFLOW_SHARD_BYTES",
    "RATESFLOW_MAX_SHARDS",
    "RATESFLOW_IGNORED_FILES",
)
"""Settings of the trigger, for executions that the command line starts itself."""

_NAMES = (*NEEDED, *LOCAL_ONLY, *OPTIONAL)


@dataclass(frozen=True)
class Environment:
    """The addresses of one stack, and their source."""

    values: Mapping[str, str]
    source: str

    def __post_init__(self) -> None:
        missing = [name for name in NEEDED if not self.values.get(name)]
        if missing:
            raise EnvironmentMissingError(
                f"The environment from {self.source} lacks {', '.join(missing)}: deploy it again, or, if it is "
                "the embedded stack, restart it with `ratesflow down` and `ratesflow up --detach`."
            )

    @property
    def place(self) -> str:
        """Return what a person calls it: the stack in its home, or the source of its addresses."""
        source = Path(self.source)
        return f"the stack in {source.parent}" if source.name == FILE_NAME else self.source

    @property
    def bucket(self) -> str:
        """Return the name of the bucket."""
        return self.values["RATESFLOW_BUCKET"]

    @property
    def inbox_prefix(self) -> str:
        """Return the prefix of the keys under which batches arrive, such as `incoming/`."""
        return self.values["RATESFLOW_INBOX"].removeprefix(f"s3://{self.bucket}/")

    @property
    def state_machine_arn(self) -> str:
        """Return the ARN of the state machine."""
        return self.values["RATESFLOW_STATE_MACHINE_ARN"]

    @property
    def start_arn(self) -> str:
        """Return the ARN that starts executions: that of the alias, which a deployment moves to its version, if any.

        An execution keeps the version that it was started with, and the job definitions that this version names.
        """
        return self.values.get("RATESFLOW_STATE_MACHINE_ALIAS_ARN") or self.state_machine_arn

    @property
    def api_url(self) -> str:
        """Return the URL of the API, without a trailing slash."""
        return self.values["RATESFLOW_API_URL"].rstrip("/")

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def client(self, service: str) -> Any:
        """Return the boto3 client of a service in this environment, created at its first use.

        For the embedded stack it uses nothing of the user's own AWS configuration: no profile, no credentials, no
        region, no proxy.
        """
        return self._clients(service)

    @property
    def is_local(self) -> bool:
        """Return whether this is an embedded stack."""
        return "AWS_ENDPOINT_URL" in self.values

    @cached_property
    def _clients(self) -> "AwsClients":
        from ratesflow.workflow.client.aws_clients import AwsClients

        if not self.is_local:
            return AwsClients()
        # The keys that `ratesflow env` prints may do everything; commands act under the policy of an operator.
        key = self.values.get("RATESFLOW_OPERATOR_KEY") or self.values["AWS_ACCESS_KEY_ID"]
        return AwsClients(self.values["AWS_ENDPOINT_URL"], {**self.values, "AWS_ACCESS_KEY_ID": key})


def find_environment(
    home: Path | None = None, name: str | None = None, variables: Mapping[str, str] | None = None
) -> Environment:
    """Return the environment that a command uses; see the docstring of this module.

    Raises EnvironmentMissingError when there is none.
    """
    variables = os.environ if variables is None else variables
    if home is None and not name and variables.get("RATESFLOW_HOME") and not variables.get("RATESFLOW_ENV"):
        home = Path(variables["RATESFLOW_HOME"])
    name = name or variables.get("RATESFLOW_ENV")
    if home is not None:
        return _from_file(home)
    if name:
        return _from_ssm(name)
    if (DEFAULT_HOME / FILE_NAME).exists():
        return _from_file(DEFAULT_HOME)
    if variables.get("RATESFLOW_STATE_MACHINE_ARN"):
        values = {n: variables[n] for n in _NAMES if variables.get(n)}
        return Environment(values, "the environment variables")
    raise EnvironmentMissingError(_no_stack(DEFAULT_HOME))


def parameter_name(name: str, environment: str) -> str:
    """Return the SSM parameter that holds a value, such as `/ratesflow/prod/state-machine-arn`."""
    return f"/ratesflow/{environment}/{name.removeprefix('RATESFLOW_').lower().replace('_', '-')}"


def _from_file(home: Path) -> Environment:
    file = home / FILE_NAME
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EnvironmentMissingError(_no_stack(home)) from error
    except ValueError as error:
        raise EnvironmentMissingError(
            f"{file} is damaged ({error}): restart the stack with `ratesflow down` and `ratesflow up --detach`."
        ) from error
    return Environment(values, str(file))


def _no_stack(home: Path) -> str:
    return f"no stack is running in {home}: start one with `ratesflow up --detach`, or name an environment with --env"


def _from_ssm(environment: str) -> Environment:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    path = f"/ratesflow/{environment}/"
    wanted = {parameter_name(name, environment): name for name in _NAMES}
    values: dict[str, str] = {}
    try:
        pages = boto3.client("ssm").get_paginator("get_parameters_by_path").paginate(Path=path)
        for page in pages:
            found = {p["Name"]: p["Value"] for p in page["Parameters"] if "Value" in p and "Name" in p}
            values |= {wanted[name]: value for name, value in found.items() if name in wanted}
    except (BotoCoreError, ClientError) as error:
        raise EnvironmentMissingError(
            f"The addresses of the environment {environment} could not be read from SSM under {path}: {error}. "
            "Check your AWS credentials and region (AWS_PROFILE, AWS_DEFAULT_REGION)."
        ) from error
    if not values:
        raise EnvironmentMissingError(
            f"There is no environment {environment}: SSM has no parameters under {path} in this account and "
            "region. Check the name, AWS_PROFILE and AWS_DEFAULT_REGION."
        )
    return Environment(values, f"SSM {path}")
