"""A planted secret is searched for in everything that a run leaves: logs, state, objects, reports, command lines."""

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
from tests.local.process_control import Signaller, cold_starts, ended, send, wait_for

# What holds the secrets, for its owner's eyes alone.
PRIVATE = {"passwords.json", "environment.json"}


@pytest.fixture(scope="module")
def busy(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A stack after a batch of each outcome, a task that died, a wrong password and odd questions to the API."""
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


def test_no_file_holds_a_password(busy: Stack) -> None:
    """Logs, records of jobs and executions, objects and the database's own files: none but the private two."""
    found = []
    for path in busy.home.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.name not in PRIVATE:
            with suppress(OSError):
                data = path.read_bytes()
                found += [str(path.relative_to(busy.home)) for secret in secrets(busy) if secret in data]
    assert found == []
    for name in PRIVATE:
        assert (busy.home / name).stat().st_mode & 0o077 == 0, name


def test_no_object_and_no_execution_holds_a_password(busy: Stack) -> None:
    """What S3 keeps and what Step Functions, Batch and the logs tell holds none."""
    s3, bucket = busy.aws("s3"), busy.environment["RATESFLOW_BUCKET"]
    told = []
    for item in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
        told.append(s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read())
    states, machine = busy.aws("stepfunctions"), busy.environment["RATESFLOW_STATE_MACHINE_ARN"]
    for each in states.list_executions(stateMachineArn=machine)["executions"][:20]:
        told.append(str(states.get_execution_history(executionArn=each["executionArn"], maxResults=1000)).encode())
    batch = busy.aws("batch")
    told.append(str(batch.describe_job_definitions()).encode())
    jobs = batch.list_jobs(jobQueue=busy.environment["RATESFLOW_JOB_QUEUE"], jobStatus="FAILED")["jobSummaryList"]
    told.append(str(batch.describe_jobs(jobs=[job["jobId"] for job in jobs[:50]])).encode())
    assert len(told) > 10
    assert [data[:80] for data in told for secret in secrets(busy) if secret in data] == []


def test_no_command_line_shows_a_password(busy: Stack, tmp_path: Path) -> None:
    """While a batch runs, no process of this machine has a password among its arguments."""
    passwords, seen = secrets(busy), 0

    def closed() -> bool:
        nonlocal seen
        for process in psutil.process_iter(["cmdline"]):
            line = "\0".join(process.info["cmdline"] or []).encode()
            seen += b"loader\0validate\0" in line and name.encode() in line
            assert not any(secret in line for secret in passwords), process
        return bool(busy.ask("SELECT 1 FROM batches WHERE batch_id = %s AND state = 'committed'", name))

    with cold_starts(busy):
        name = send(busy, tmp_path, csv(rows(100, seed=932)), "secret-lines")
        wait_for(closed)
    assert seen > 0
    ended(busy, name)


def test_the_console_and_the_command_line_tell_no_password(busy: Stack) -> None:
    """`show`, `executions` and `batches` tell none; `env` does, as it is asked to, and is the only one."""
    said = busy.run("executions").stdout + busy.run("batches").stdout
    for execution in json.loads(busy.run("executions", "--json").stdout)[:4]:
        said += busy.run("show", execution["batch_id"]).stdout
    assert not any(secret.decode() in said for secret in secrets(busy))
    assert any(secret.decode() in busy.run("env").stdout for secret in secrets(busy))


def test_a_database_that_refuses_is_told_of_without_its_password() -> None:
    """A wrong address gives words in which the password does not stand."""
    secret = "planted-Secret-9c1f"
    told = {"DATABASE_URL": f"postgresql://loader:{secret}@127.0.0.1:1/x?connect_timeout=1", "RATESFLOW_BUCKET": "b"}
    told |= {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "planted-Key-77",
    }
    told |= {"AWS_DEFAULT_REGION": "eu-central-2", "AWS_MAX_ATTEMPTS": "1"}
    code = (
        "import sys, ratesflow.loader.runtime.connection as d, ratesflow.loader.__main__ as m; d.CONNECT_SECONDS = 1; "
    )
    code += "m._store_error = lambda *_: None; sys.exit(m.main(['ledger', '--run', 'r']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env={**os.environ, **told}, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode == 75
    assert b"cannot connect to the database" in said
    assert b"planted" not in said
