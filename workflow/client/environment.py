"""Where the stack is that a command speaks to: the embedded one, one on AWS, or what the variables say.

An environment is a flat map of names to values, the very lines that `ratesflow env` prints. It comes from

1. `HOME/environment.json`, which the embedded stack writes while it is up (HOME: `--home`, RATESFLOW_HOME, or
   `.ratesflow`);
2. SSM parameters under `/ratesflow/NAME/`, which Terraform writes (NAME: `--env`, RATESFLOW_ENV). A name
   becomes a parameter in lower case, with hyphens, without its `RATESFLOW_`: RATESFLOW_STATE_MACHINE_ARN is
   `/ratesflow/NAME/state-machine-arn`, DATABASE_URL would be `/ratesflow/NAME/database-url`;
3. the environment variables of those names, when RATESFLOW_STATE_MACHINE_ARN is one and no home exists.

Flags go before variables; among variables RATESFLOW_ENV goes before RATESFLOW_HOME.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

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
"""Names that the embedded stack has beside them; on AWS the caller's own credentials and region are used."""


OPTIONAL = (
    "RATESFLOW_STATE_MACHINE_ALIAS_ARN",
    "RATESFLOW_SHARD_BYTES",
    "RATESFLOW_MAX_SHARDS",
    "RATESFLOW_SIDE_FILES",
)
"""Settings of the trigger, for what the command line starts in its place."""

_KNOWN = (*NEEDED, *LOCAL_ONLY, *OPTIONAL)


class EnvironmentMissingError(Exception):
    """No stack was found, or one without some address; the text says what to do."""


@dataclass(frozen=True)
class Environment:
    """The addresses of one stack, and where they were found."""

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
        """Return the ARN to start executions by: the alias, which a deployment moves to its version, if there is one.

        An execution keeps the version that it was started with, and so the job definitions that this names.
        """
        return self.values.get("RATESFLOW_STATE_MACHINE_ALIAS_ARN") or self.state_machine_arn

    @property
    def api_url(self) -> str:
        """Return where the API listens, without a slash at the end."""
        return self.values["RATESFLOW_API_URL"].rstrip("/")

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def client(self, service: str) -> Any:
        """Return the boto3 client of a service in this environment, made at its first use.

        For the embedded stack it takes nothing from the user's own AWS configuration: no profile, no
        credentials, no region, no proxy.
        """
        if service not in self._clients:
            self._clients[service] = self._session.client(service, **self._options)
        return self._clients[service]

    @property
    def is_local(self) -> bool:
        """Tell whether this is an embedded stack."""
        return "AWS_ENDPOINT_URL" in self.values

    @cached_property
    def _clients(self) -> dict[str, Any]:
        return {}

    @cached_property
    def _options(self) -> dict[str, Any]:
        from botocore.config import Config

        if not self.is_local:
            tries = Config(retries={"mode": "standard", "max_attempts": 5}, connect_timeout=5, read_timeout=60)
            return {"config": tries}
        patient = Config(
            retries={"mode": "standard", "max_attempts": 3}, connect_timeout=5, read_timeout=60, proxies={}
        )
        return {"endpoint_url": self.values["AWS_ENDPOINT_URL"], "config": patient}

    @cached_property
    def _session(self) -> Any:
        import boto3
        import botocore.session

        if not self.is_local:
            return boto3.session.Session()
        nothing = dict.fromkeys(("profile", "ca_bundle"), (None, None, None, None))
        files = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
        return boto3.session.Session(
            # The keys that `ratesflow env` prints may do everything; commands act under the policy of an operator.
            aws_access_key_id=self.values.get("RATESFLOW_OPERATOR_KEY") or self.values["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.values["AWS_SECRET_ACCESS_KEY"],
            region_name=self.values["AWS_DEFAULT_REGION"],
            botocore_session=botocore.session.Session(session_vars=nothing | files),
        )


def find_environment(
    home: Path | None = None, name: str | None = None, variables: Mapping[str, str] | None = None
) -> Environment:
    """Return the environment that a command speaks to; see the head of this module.

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
        known = {n: variables[n] for n in _KNOWN if variables.get(n)}
        return Environment(known, "the environment variables")
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
    wanted = {parameter_name(name, environment): name for name in _KNOWN}
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
