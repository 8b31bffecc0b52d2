"""The embedded AWS as a process, and clients of it."""

import os
import subprocess
import time
from collections.abc import Iterator
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from ratesflow.local.deploy import CREDENTIALS, clients
from ratesflow.local.processes import free_port, python, start
from ratesflow.workflow.client.aws_clients import AwsClients


@pytest.fixture(scope="session")
def aws_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an embedded AWS that runs as a process of its own."""
    folder = tmp_path_factory.mktemp("aws")
    port = free_port()
    process = start(python("ratesflow.local.aws", "--port", str(port), "--data", str(folder)), folder / "log")
    endpoint = f"http://127.0.0.1:{port}"
    _wait_for(f"{endpoint}/moto-api/", process)
    yield endpoint
    process.terminate()
    process.wait(15)


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(url, timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"{url} does not answer")


@pytest.fixture
def aws(aws_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> AwsClients:
    """Clients of the embedded AWS; code under test finds the same one through the environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": aws_endpoint}.items():
        monkeypatch.setenv(name, value)
    return clients(aws_endpoint)
