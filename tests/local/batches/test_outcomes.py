"""The outcome of a batch is the ledger's wherever it is shown, however its execution ended."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from ratesflow.workflow.client import start as starting
from ratesflow.workflow.client.environment import find_environment
from ratesflow.workflow.trigger import execution_name
from tests.loader.samples import csv, rows
from tests.local.conftest import Stack
from tests.local.process_control import Mailbox, ended, leftovers, start, state
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def mailbox(stack: Stack) -> Mailbox:
    """The notifications of the shared stack."""
    return Mailbox(stack)


@contextmanager
def replaced_state(
    stack: Stack, step: str, following: str, replacement: dict[str, Any] | None = None
) -> Iterator[None]:
    """Replace a state, by default with a long Wait, in executions that start meanwhile."""
    states, machine = stack.aws("stepfunctions"), stack.environment["RATESFLOW_STATE_MACHINE_ARN"]
    original = states.describe_state_machine(stateMachineArn=machine)["definition"]
    definition = json.loads(original)
    definition["States"][step] = replacement or {"Type": "Wait", "Seconds": 100, "Next": following}
    states.update_state_machine(stateMachineArn=machine, definition=json.dumps(definition))
    try:
        yield
    finally:
        states.update_state_machine(stateMachineArn=machine, definition=original)


def outcomes(stack: Stack, name: str) -> dict[str, str]:
    """Return the outcome of a batch in each place that shows it."""
    console = stack.environment["RATESFLOW_CONSOLE_URL"]

    def page(path: str) -> str:
        with urlopen(f"{console}{path}", timeout=30) as response:
            return str(response.read().decode())

    listed = json.loads(stack.run("executions", "--limit", "200", "--json").stdout)
    ledger = json.loads(stack.run("batches", "--limit", "200", "--json").stdout)
    single = json.loads(stack.run("show", name, "--json").stdout)
    return {
        "ledger": next(row["state"] for row in ledger if row["batch_id"] == name),
        "executions": next(row["outcome"] for row in listed if row["batch_id"] == name),
        "show": single["outcome"],
        "console": re.findall(rf'{name} <span class="badge (\w+)', page(f"/executions/{name}"))[0],
        "console's list": re.findall(r"badge (\w+)", page(f"/?text={name}&limit=200"))[0],
    }


def test_stop_after_the_commit_is_too_late(stack: Stack, mailbox: Mailbox) -> None:
    """A batch that is stopped after its commit is shown as committed, and `stop` prints how to undo it."""
    with replaced_state(stack, "ReadCommitResult", "Committed?"):
        name = start(stack, csv(rows(40, seed=880)), "too-late", 1)
        wait_for(lambda: stack.query("SELECT 1 FROM batches WHERE batch_id = %s AND state = 'committed'", name))
    for _ in range(2):  # the second time it has already ended
        done = stack.run("stop", name, code=5)
        assert done.stdout == f"too late: {name} is committed; roll it back with `ratesflow undo {name}`\n"
    assert stack.execution(name)["status"] == "ABORTED"
    assert set(outcomes(stack, name).values()) == {"committed"}
    shown = stack.run("show", name).stdout
    assert "discard what it left" not in shown
    assert "The execution was stopped: by user, with ratesflow stop. The batch is committed" in shown
    assert [(message["outcome"], message["rows"]) for message in mailbox.of(name)] == [("committed", 40)]
    stack.run("undo", name)
    assert set(outcomes(stack, name).values()) == {"undone"}


def test_stop_after_the_rejection_is_too_late(stack: Stack, mailbox: Mailbox) -> None:
    """A rejected batch that is stopped before its notification stays rejected, and is notified once."""
    with replaced_state(stack, "Notify", "Done"):
        name = start(stack, csv(rows(40, seed=881)) + b"x,y,z,0\n", "rejected-late", 1)
        wait_for(lambda: stack.query("SELECT 1 FROM batches WHERE batch_id = %s AND state = 'rejected'", name))
    assert stack.run("stop", name).stdout == f"too late: {name} is rejected already; none of its rows are visible\n"
    assert set(outcomes(stack, name).values()) == {"rejected"}
    assert json.loads(stack.run("show", name, "--json").stdout)["rejected_rows"] == 1
    assert [message["outcome"] for message in mailbox.of(name)] == ["rejected"]


def test_stop_before_the_commit_fails_the_batch(stack: Stack, mailbox: Mailbox) -> None:
    """A batch that is stopped before its commit has failed; its outcome is open until `stop` closes it."""
    with replaced_state(stack, "Commit", "ReadCommitResult"):
        name = start(stack, csv(rows(40, seed=882)), "in-time", 1)
        wait_for(lambda: stack.query("SELECT 1 FROM batches WHERE batch_id = %s", name))
        arn = stack.execution(name)["executionArn"]
        stack.aws("stepfunctions").stop_execution(executionArn=arn)
        ended(stack, name)
    assert json.loads(stack.run("show", name, "--json").stdout)["outcome"] == "open"
    done = stack.run("stop", name)
    assert done.stdout == f"{name} is stopped; none of its rows are visible\n"
    assert set(outcomes(stack, name).values()) == {"failed"}
    wait_for(lambda: leftovers(stack, name) == [])
    assert state(stack, name) == ("failed", "the execution was stopped")
    assert [message["outcome"] for message in mailbox.of(name)] == ["failed"]


def test_failed_execution_of_a_committed_batch_is_shown_as_committed(stack: Stack, mailbox: Mailbox) -> None:
    """If an execution fails although its batch is committed, gc corrects the outcome wherever it is shown."""
    lost = {"Type": "Pass", "Result": {"Error": "X"}, "ResultPath": "$.not_discarded", "Next": "DiscardFailed"}
    with replaced_state(stack, "ReadCommitResult", "", lost):
        name = start(stack, csv(rows(40, seed=884)), "result-lost", 1)
        assert ended(stack, name)["error"] == "BatchFailed"
    stack.run("gc")
    assert set(outcomes(stack, name).values()) == {"committed"}
    assert [message["outcome"] for message in mailbox.of(name)] == ["failed", "committed"]


def test_undone_batch_is_shown_as_undone(stack: Stack, tmp_path: Path) -> None:
    """After an undo, the execution that committed the batch is shown as undone, too."""
    path = tmp_path / "taken-out.csv"
    path.write_bytes(csv(rows(40, seed=883)))
    name = stack.ingest(path)["batch_id"]
    assert set(outcomes(stack, name).values()) == {"committed"}
    stack.run("undo", name)
    assert set(outcomes(stack, name).values()) == {"undone"}


def test_start_of_a_failed_batch_is_a_redo(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """`start` reruns a failed file, even if its execution has expired and only the ledger has it."""
    bucket, key = stack.environment["RATESFLOW_BUCKET"], "incoming/_temporary/started.csv"
    put = stack.aws("s3").put_object(Bucket=bucket, Key=key, Body=csv(rows(40, seed=885)))
    name = execution_name(bucket, key, put["VersionId"])
    insert = "INSERT INTO batches (batch_id, bucket, key, version, state, closed_at) VALUES (%s, %s, %s, %s, %s, now())"
    for existing in (name, f"{name}-r1"):
        stack.query(insert, existing, bucket, key, put["VersionId"], "failed")
    monkeypatch.setattr(starting, "RETENTION", timedelta())
    environment = find_environment(stack.home)
    uri = f"s3://{bucket}/{key}"
    assert starting.start_object(environment, uri) == f"{name}-r2"
    assert ended(stack, f"{name}-r2")["status"] == "SUCCEEDED"
    assert state(stack, f"{name}-r2")[0] == "committed"


def test_start_leaves_a_committed_batch_and_reruns_a_rejected_one(stack: Stack) -> None:
    """`start` leaves a committed batch unchanged; a rejected one runs again, with the name of a redo."""
    bucket = stack.environment["RATESFLOW_BUCKET"]
    for text, outcome, again in ((csv(rows(40, seed=886)), "committed", ""), (b"nothing\n", "rejected", "-r1")):
        key = f"incoming/_temporary/{outcome}.csv"
        stack.aws("s3").put_object(Bucket=bucket, Key=key, Body=text)
        name = stack.run("start", f"s3://{bucket}/{key}").stdout.strip()
        assert ended(stack, name)["status"] == "SUCCEEDED"
        assert state(stack, name)[0] == outcome
        assert stack.run("start", f"s3://{bucket}/{key}").stdout.strip() == f"{name}{again}"
