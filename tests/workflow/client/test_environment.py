"""How a command finds its stack."""

import json
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from ratesflow.workflow.client.environment import (
    LOCAL_ONLY,
    NEEDED,
    Environment,
    EnvironmentMissingError,
    find_environment,
    parameter_name,
)

VALUES = {name: f"value of {name}" for name in (*NEEDED, *LOCAL_ONLY)} | {
    "RATESFLOW_BUCKET": "data",
    "RATESFLOW_INBOX": "s3://data/incoming/",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "RATESFLOW_API_URL": "http://127.0.0.1:3000/",
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A working directory without a stack."""
    monkeypatch.chdir(tmp_path)


def write(home: Path, values=VALUES):
    home.mkdir(exist_ok=True)
    (home / "environment.json").write_text(json.dumps(values))


def test_home_holds_the_environment():
    """A home given by flag or variable, or the default one, holds the addresses of its stack."""
    for home, variables in ((Path("named"), {}), (None, {"RATESFLOW_HOME": "by-variable"}), (None, {})):
        directory = home or Path(variables.get("RATESFLOW_HOME", ".ratesflow"))
        write(directory)
        found = find_environment(home, None, variables)
        assert found.values == VALUES
        assert found.source == str(directory / "environment.json")
        (directory / "environment.json").unlink()


def test_addresses_are_read():
    """The prefix of the inbox and the address of the API are normalized."""
    environment = Environment(VALUES, "a test")
    assert (environment.bucket, environment.inbox_prefix) == ("data", "incoming/")
    assert environment.api_url == "http://127.0.0.1:3000"


def test_no_stack_names_the_remedy():
    """Without a stack the error names the folder that was searched and how to start one."""
    with pytest.raises(EnvironmentMissingError) as error:
        find_environment(None, None, {})
    assert str(error.value) == (
        "no stack is running in .ratesflow: start one with `ratesflow up --detach`, or name an environment with --env"
    )
    with pytest.raises(EnvironmentMissingError, match="no stack is running in there"):
        find_environment(Path("there"), None, VALUES)


def test_variables_serve_when_there_is_no_home():
    """The exported output of `ratesflow env` is an environment; a stack in the default home takes precedence."""
    assert find_environment(None, None, {**VALUES, "PATH": "/bin"}).values == VALUES
    write(Path(".ratesflow"), VALUES | {"RATESFLOW_BUCKET": "home"})
    assert find_environment(None, None, VALUES).bucket == "home"


def test_incomplete_and_damaged_files_are_reported():
    """A file that lacks an address or is not JSON is reported with the defect."""
    write(Path("home"), {k: v for k, v in VALUES.items() if k != "RATESFLOW_BUCKET"})
    with pytest.raises(EnvironmentMissingError, match=r"environment\.json lacks RATESFLOW_BUCKET"):
        find_environment(Path("home"), None, {})
    Path("home/environment.json").write_text("{")
    with pytest.raises(EnvironmentMissingError, match="is damaged"):
        find_environment(Path("home"), None, {})


def test_aws_publishes_parameters(monkeypatch):
    """An environment on AWS is read from its SSM parameters; a name takes precedence over a home in a variable."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        ssm = boto3.client("ssm")
        for name in NEEDED:
            ssm.put_parameter(Name=parameter_name(name, "prod"), Value=VALUES[name], Type="String")
        found = find_environment(None, "prod", {"RATESFLOW_HOME": "elsewhere"})
        assert found.values == {name: VALUES[name] for name in NEEDED}
        assert not found.is_local
        with pytest.raises(EnvironmentMissingError, match="There is no environment test"):
            find_environment(None, None, {"RATESFLOW_ENV": "test"})


def test_parameter_names():
    """A value's parameter is its name in lower case, with hyphens, without RATESFLOW_."""
    assert parameter_name("RATESFLOW_STATE_MACHINE_ARN", "prod") == "/ratesflow/prod/state-machine-arn"


def test_users_own_configuration_stays_out(monkeypatch, tmp_path):
    """A client of the embedded stack takes no profile, region, credentials, endpoint or proxy from the user."""
    config = tmp_path / "config"
    config.write_text("[default]\nregion = ap-south-1\nendpoint_url = http://wrong:1\n")
    for name, value in {
        "AWS_PROFILE": "missing",
        "AWS_CONFIG_FILE": str(config),
        "AWS_ENDPOINT_URL_S3": "http://wrong:2",
        "AWS_REGION": "ap-south-1",
        "AWS_ACCESS_KEY_ID": "theirs",
        "AWS_SESSION_TOKEN": "theirs",
        "HTTP_PROXY": "http://wrong:3",
    }.items():
        monkeypatch.setenv(name, value)
    client = Environment(VALUES, "a test").client("s3")
    credentials = client._request_signer._credentials
    assert client.meta.endpoint_url == VALUES["AWS_ENDPOINT_URL"]
    assert client.meta.region_name == "eu-west-1"
    assert (credentials.access_key, credentials.token) == (VALUES["RATESFLOW_OPERATOR_KEY"], None)
    assert client._endpoint.http_session._proxy_config._proxies == {}


def test_the_place_is_what_a_person_calls_it(tmp_path):
    """The place of a stack is its home; that of other environments is the source of their addresses."""
    write(tmp_path / "home")
    assert find_environment(tmp_path / "home").place == f"the stack in {tmp_path / 'home'}"
    assert Environment(VALUES, "SSM /ratesflow/prod/").place == "SSM /ratesflow/prod/"
