"""Passwords do not occur in logs, state, objects, reports and command lines after a run."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg2
import pytest

from tests.loader.samples import csv, rows
from tests.local.conftest import Stack
from tests.local.process_control import ended, send
from tests.local.signaller import Signaller, cold_starts
from tests.waiting import wait_for

# Files with secrets, which only their owner can read.
PRIVATE = {"passwords.json", "environment.json"}


@pytest.fixture(scope="module")
def busy(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A stack after batches with each outcome, a killed task, a wrong password and an invalid API request."""
    folder = tmp_path_factory.mktemp("secrets")
    names = [send(stack, folder, csv(rows(100, seed=930)), "secret-good")]
    ended(stack, names[0])
    names += [send(stack, folder, csv(rows(100, seed=930)), "secret-again"), send(stack, folder, b"x", "secret-bad")]
    with Signaller(stack, "load", "secret-dead", signal.SIGKILL):
        names.append(send(stack, folder, csv(rows(100, seed=931)), "secret-dead"))
        for name in names:
            ended(stack, name)
    url = stack.environment["DATABASE_URL"]
    with suppress(psycopg2.Error):
        psycopg2.connect(url.replace("postgres:", "loader:", 1), connect_timeout=5)
    with suppress(OSError):
        stack.rates(date_from="x")
    stack.run("gc")
    return stack


def secrets(stack: Stack) -> list[bytes]:
    """Return the passwords of all users."""
    return [value.encode() for value in json.loads((stack.home / "passwords.json").read_text()).values()]


def test_files_contain_no_password(busy: Stack) -> None:
    """Logs, records, objects and the database's files contain no password, except the two private files."""
    found = []
    for path in busy.home.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.name not in PRIVATE:
            with suppress(OSError):
                data = path.read_bytes()
                found += [str(path.relative_to(busy.home)) for secret in secrets(busy) if secret in data]
    assert found == []
    for name in PRIVATE:
        assert (busy.home / name).stat().st_mode & 0o077 == 0, name


def test_objects_and_executions_contain_no_password(busy: Stack) -> None:
    """S3 objects, execution histories, job definitions and job descriptions contain no password."""
    s3, bucket = busy.aws("s3"), busy.environment["RATESFLOW_BUCKET"]
    documents = []
    for item in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
        documents.append(s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read())
    states, machine = busy.aws("stepfunctions"), busy.environment["RATESFLOW_STATE_MACHINE_ARN"]
    for each in states.list_executions(stateMachineArn=machine)["executions"][:20]:
        documents.append(str(states.get_execution_history(executionArn=each["executionArn"], maxResults=1000)).encode())
    batch = busy.aws("batch")
    documents.append(str(batch.describe_job_definitions()).encode())
    jobs = batch.list_jobs(jobQueue=busy.environment["RATESFLOW_JOB_QUEUE"], jobStatus="FAILED")["jobSummaryList"]
    documents.append(str(batch.describe_jobs(jobs=[job["jobId"] for job in jobs[:50]])).encode())
    assert len(documents) > 10
    assert [data[:80] for data in documents for secret in secrets(busy) if secret in data] == []


def test_command_lines_contain_no_password(busy: Stack, tmp_path: Path) -> None:
    """While a batch runs, no process of this machine has a password in its arguments."""
    passwords, seen = secrets(busy), 0

    def closed() -> bool:
        nonlocal seen
        for process in psutil.process_iter(["cmdline"]):
            line = "\0".join(process.info["cmdline"] or []).encode()
            seen += b"loader\0validate\0" in line and name.encode() in line
            assert not any(secret in line for secret in passwords), process
        return bool(busy.query("SELECT 1 FROM batches WHERE batch_id = %s AND state = 'committed'", name))

    with cold_starts(busy):
        name = send(busy, tmp_path, csv(rows(100, seed=932)), "secret-lines")
        wait_for(closed)
    assert seen > 0
    ended(busy, name)


def test_command_output_contains_no_password(busy: Stack) -> None:
    """`show`, `executions` and `batches` print no password; only `env` does, as intended."""
    output = busy.run("executions").stdout + busy.run("batches").stdout
    for execution in json.loads(busy.run("executions", "--json").stdout)[:4]:
        output += busy.run("show", execution["batch_id"]).stdout
    assert not any(secret.decode() in output for secret in secrets(busy))
    assert any(secret.decode() in busy.run("env").stdout for secret in secrets(busy))


def test_connection_error_contains_no_password() -> None:
    """The error about an unreachable database does not contain its password."""
    secret = "planted-Secret-9c1f"
    url = f"postgresql://loader:{secret}@127.0.0.1:1/x?connect_timeout=1"
    variables = {
        "DATABASE_URL": url,
        "RATESFLOW_BUCKET": "b",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "planted-Key-77",
    }
    variables |= {"AWS_DEFAULT_REGION": "eu-central-2", "AWS_MAX_ATTEMPTS": "1"}
    code = (
        "import sys, ratesflow.loader.runtime.connection as d, ratesflow.loader.__main__ as m; d.CONNECT_SECONDS = 1; "
    )
    code += "m._store_error = lambda *_: None; sys.exit(m.main(['ledger', '--run-id', 'r']))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env={**os.environ, **variables}, timeout=60
    )
    output = done.stdout + done.stderr
    assert done.returncode == 75
    assert b"cannot connect to the database" in output
    assert b"planted" not in output
