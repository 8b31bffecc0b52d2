"""The built images, run against an embedded stack on the same machine.

RATESFLOW_LOADER_IMAGE and RATESFLOW_API_IMAGE name existing images; RATESFLOW_CONTAINERS is the container tool, by
default podman.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from ratesflow.local.deploy import CREDENTIALS
from ratesflow.local.processes import free_port
from tests.images.containers import inspect, logs, run, started, terminate
from tests.loader.samples import csv, parquet, rows
from tests.local.conftest import Stack, new_stack

LOADER, API = os.environ.get("RATESFLOW_LOADER_IMAGE", ""), os.environ.get("RATESFLOW_API_IMAGE", "")
pytestmark = pytest.mark.skipif(
    not (LOADER and API), reason="build the images and set RATESFLOW_LOADER_IMAGE and RATESFLOW_API_IMAGE to them"
)
IMAGES = [pytest.param(LOADER, 400, id="loader"), pytest.param(API, 70, id="api")]
BASE = "python:3.13-slim"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack outside the containers, in place of AWS."""
    found = new_stack(tmp_path_factory.mktemp("images") / "home")
    found.up()
    yield found
    found.run("down")


@pytest.fixture
def task(stack: Stack) -> Callable[..., tuple[dict[str, Any], list[dict[str, Any]]]]:
    """A function that runs a task in the loader's image; it returns the result document and the log lines."""
    environ = {
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": stack.environment["AWS_ENDPOINT_URL"],
        "RATESFLOW_BUCKET": stack.environment["RATESFLOW_BUCKET"],
        "DATABASE_SECRET_ARN": "ratesflow/local/loader",
        "RATESFLOW_METRICS": "true",
    }

    def _run(name: str, batch: dict[str, str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        arguments = [part for flag, value in batch.items() for part in (f"--{flag}", value)]
        lines = [json.loads(line) for line in run(LOADER, name, *arguments, environ=environ).splitlines()]
        key = f"results/{batch['batch-id']}/{name}.json"
        stored = stack.aws("s3").get_object(Bucket=batch["bucket"], Key=key)["Body"].read()
        return json.loads(stored), lines

    return _run


@pytest.mark.parametrize(("image", "megabytes"), IMAGES)
def test_image_size(image: str, megabytes: int) -> None:
    """An image adds at most its limit of megabytes to the base image."""
    more = (inspect(image)["Size"] - inspect(BASE)["Size"]) / 1e6
    print(f"{image}: {more:.0f} MB on top of {BASE}")
    assert 10 < more <= megabytes


@pytest.mark.parametrize(("image", "megabytes"), IMAGES)
def test_image_has_no_tools(image: str, megabytes: int) -> None:
    """The image has no compiler, no installer, and no package of the workflow or the tests."""
    config = inspect(image)["Config"]
    assert config["User"] == "10001:10001"
    assert config["Labels"]["org.opencontainers.image.title"].startswith("ratesflow ")
    program = (
        "import os, shutil, importlib.util as u;"
        "print(*[n for n in ('gcc','cc','make','pip','pip3','git','curl') if shutil.which(n)],"
        "*[m for m in ('pip','ensurepip','stepfunctions','sagemaker','starlette','moto','pytest') if u.find_spec(m)],"
        "*[p for p in ('/app','/packages','/usr/local/lib') if os.access(p, os.W_OK)]);"
        "print(os.getuid())"
    )
    assert run(image, "-c", program, environ={}, entrypoint="python").split() == ["10001"]
    if image == API:
        program = "import importlib.util as u; print([m for m in ('boto3','pandas','sqlalchemy') if u.find_spec(m)])"
        assert run(image, "-c", program, environ={}, entrypoint="python").strip() == "[]"


@pytest.mark.parametrize("data", [pytest.param(csv, id="csv"), pytest.param(parquet, id="parquet")])
def test_image_loads_a_batch(stack: Stack, task: Callable[..., Any], data: Callable[..., bytes]) -> None:
    """Validate, load and commit run as the image's user with a read-only root, and the API then returns the rates."""
    prices = rows(5000, seed=71 if data is csv else 72)
    name = f"from-the-image-{data.__name__}"
    bucket = stack.environment["RATESFLOW_BUCKET"]
    version = stack.aws("s3").put_object(Bucket=bucket, Key=f"elsewhere/{name}", Body=data(prices))["VersionId"]
    batch = {"bucket": bucket, "key": f"elsewhere/{name}", "version": version, "batch-id": name}
    for step, outcome in (("validate", "accepted"), ("load", "loaded"), ("commit", "committed")):
        began = time.time()
        result, lines = task(step, batch)
        assert (result["outcome"], result["rows"]) == (outcome, 5000)
        print(f"{step}: first line after {_moment(lines[0]) - began:.2f} s, all done after {time.time() - began:.2f} s")
        messages = [line["message"] for line in lines]
        assert (messages[0], messages[-2:]) == ("started", [outcome, "metrics"])
    assert stack.query("SELECT state, rows FROM batches WHERE batch_id = %s", name) == [("committed", 5000)]
    orig, dest, day, _ = prices[0]
    (found,) = stack.rates(orig_code=orig, dest_code=dest, date_from=day, date_to=day)
    assert found["count"] >= 1


def _moment(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["time"]).timestamp()


def test_image_rejects_a_batch_with_a_report(stack: Stack, task: Callable[..., Any]) -> None:
    """The list of errors, which needs a temporary file, can be written to /tmp only."""
    bucket = stack.environment["RATESFLOW_BUCKET"]
    body = csv(rows(50)).replace(b"\n", b"x\n")[:-2].replace(b"x\n", b"\n", 1)
    stack.aws("s3").put_object(Bucket=bucket, Key="elsewhere/bad", Body=body)
    result, _ = task("validate", {"bucket": bucket, "key": "elsewhere/bad", "batch-id": "bad-from-the-image"})
    assert result["outcome"] == "rejected"
    report = f"reports/bad-from-the-image/{Path('errors.csv')}"
    assert stack.aws("s3").get_object(Bucket=bucket, Key=report)["Body"].read().count(b"\n") == result[
        "rejected_rows"
    ] + 1  # fmt: skip


def test_image_migrates_the_schema(stack: Stack) -> None:
    """The image has the migrations; running them again changes nothing."""
    environ = {
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": stack.environment["AWS_ENDPOINT_URL"],
        "RATESFLOW_BUCKET": stack.environment["RATESFLOW_BUCKET"],
        "DATABASE_SECRET_ARN": "ratesflow/local/owner",
    }
    lines = run(LOADER, "migrate", "--run-id", "migrate-from-the-image", environ=environ).splitlines()
    assert json.loads(lines[-1])["reason"].startswith("up to date at ")


def test_task_in_a_container_ends_on_sigterm() -> None:
    """As process 1, which ignores signals by default, a waiting task ends at once with a code that is retried."""
    unreachable = {"DATABASE_URL": f"postgresql://nobody@127.0.0.1:{free_port()}/none", "RATESFLOW_BUCKET": "none"}
    named = ("--bucket", "none", "--key", "none", "--batch-id", "none")
    with started(LOADER, "validate", *named, environ=unreachable) as container:
        _until(lambda: '"started"' in logs(container))
        code, seconds = terminate(container)
    assert code == 75
    assert seconds < 5


def test_api_container_serves_and_drains(stack: Stack) -> None:
    """The API serves requests with a read-only root, its health check passes, and SIGTERM shuts it down gracefully."""
    port = free_port()
    environ = {"PORT": str(port), "DATABASE_URL": stack.environment["DATABASE_URL"]}
    with started(API, environ=environ) as container:
        _until(lambda: _status(f"http://127.0.0.1:{port}/health/ready") == 200)
        with urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
            assert "message" in json.load(response)
        query = "date_from=2021-01-01&date_to=2021-01-02&orig_code=INNSA&dest_code=USMIA"
        with urlopen(f"http://127.0.0.1:{port}/rates?{query}", timeout=5) as response:
            assert len(json.load(response)["rates"]) == 2
        found = inspect(API)
        check = (found.get("Healthcheck") or found["Config"]["Healthcheck"])["Test"]  # podman's key, Docker's key
        assert check[0] == "CMD"
        run(API, *check[2:], environ={"PORT": str(port)}, entrypoint=check[1])
        code, seconds = terminate(container)
    assert code == 0
    assert seconds < 30


def _status(url: str) -> int:
    try:
        with urlopen(url, timeout=2) as response:
            return int(response.status)
    except OSError:
        return 0


def _until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
