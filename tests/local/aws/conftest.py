"""Fixtures of a real embedded AWS, which most tests share."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from ratesflow.local.aws.lean_import import import_moto
from tests.local.aws.aws_stack import Jobs, Machines, Stack, prepare_batch, running

import_moto()  # before a test imports it whole


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The shared server; it has the Batch queue `queue` and the job definition `shell`."""
    environment = tmp_path_factory.mktemp("environment") / "jobs.json"
    environment.write_text(json.dumps({"FROM_FILE": "1", "SHADE": "dark"}))
    options = ("--job-env-file", str(environment), "--slots", "3", "--kill-grace", "1")
    with running(tmp_path_factory.mktemp("aws"), *options) as stack:
        prepare_batch(stack)
        yield stack


@pytest.fixture
def jobs(stack: Stack) -> Jobs:
    """Jobs of the shared server."""
    return Jobs(stack)


@pytest.fixture
def machines(stack: Stack) -> Machines:
    """State machines of the shared server."""
    return Machines(stack)


@pytest.fixture
def bucket(stack: Stack) -> str:
    """A new bucket with versioning on the shared server."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    stack.client("s3").create_bucket(Bucket=name)
    stack.client("s3").put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name
