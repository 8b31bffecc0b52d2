"""One outcome of a batch, the ledger's, wherever it is shown, however its execution ended."""

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
from tests.local.process_control import Mailbox, ended, left, start, state, wait_for


@pytest.fixture(scope="module")
def mailbox(stack: Stack) -> Mailbox:
    """The notifications of the shared stack."""
    return Mailbox(stack)


@contextmanager
def held(stack: Stack, step: str, following: str, instead: dict[str, Any] | None = None) -> Iterator[None]:
    """Let executions that start meanwhile stand still in a step, or do something else, instead of doing it."""
    states, machine = stack.aws("stepfunctions"), stack.environment["RATESFLOW_STATE_MACHINE_ARN"]
    usual = states.describe_state_machine(stateMachineArn=machine)["definition"]
    definition = json.loads(usual)
    definition["States"][step] = instead or {"Type": "Wait", "Seconds": 100, "Next": following}
    states.update_state_machine(stateMachineArn=machine, definition=json.dumps(definition))
    try:
        yield
    finally:
        states.update_state_machine(stateMachineArn=machine, definition=usual)


def shown(stack: Stack, name: str) -> dict[str, str]:
    """Return the outcome of a batch as every place shows it."""
    console = stack.environment["RATESFLOW_CONSOLE_URL"]

    def page(path: str) -> str:
        with urlopen(f"{console}{path}", timeout=30) as answer:
            return str(answer.read().decode())

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


def test_a_stop_that_comes_after_the_commit(stack: Stack, mailbox: Mailbox) -> None:
    """Stopped when the ledger says committed, a batch is committed everywhere, and `stop` says how to take it out."""
    with held(stack, "ReadCommitResult", "Committed?"):
        name = start(stack, csv(rows(40, seed=880)), "too-late", 1)
        wait_for(lambda: stack.ask("SELECT 1 FROM batches WHERE batch_id = %s AND state = 'committed'", name))
    for _ in range(2):  # at the second time it has ended already
        done = stack.run("stop", name, code=5)
        assert done.stdout == f"too late: {name} is committed; roll it back with `ratesflow undo {name}`\n"
    assert stack.execution(name)["status"] == "ABORTED"
    assert set(shown(stack, name).values()) == {"committed"}
    told = stack.run("show", name).stdout
    assert "discard what it left" not in told
    assert "The execution was stopped: by user, with ratesflow stop. The batch is committed" in told
    assert [(message["outcome"], message["rows"]) for message in mailbox.of(name)] == [("committed", 40)]
    stack.run("undo", name)
    assert set(shown(stack, name).values()) == {"undone"}


def test_a_stop_that_comes_after_the_refusal(stack: Stack, mailbox: Mailbox) -> None:
    """Stopped before its notification, a rejected batch stays rejected everywhere, and is notified of once."""
    with held(stack, "Notify", "Done"):
        name = start(stack, csv(rows(40, seed=881)) + b"x,y,z,0\n", "refused-late", 1)
        wait_for(lambda: stack.ask("SELECT 1 FROM batches WHERE batch_id = %s AND state = 'rejected'", name))
    assert stack.run("stop", name).stdout == f"too late: {name} is rejected already; none of its rows are visible\n"
    assert set(shown(stack, name).values()) == {"rejected"}
    assert json.loads(stack.run("show", name, "--json").stdout)["rejected_rows"] == 1
    assert [message["outcome"] for message in mailbox.of(name)] == ["rejected"]


def test_a_stop_that_comes_in_time(stack: Stack, mailbox: Mailbox) -> None:
    """Stopped before its commit, a batch has failed everywhere; until the ledger is asked its outcome is open."""
    with held(stack, "Commit", "ReadCommitResult"):
        name = start(stack, csv(rows(40, seed=882)), "in-time", 1)
        wait_for(lambda: stack.ask("SELECT 1 FROM batches WHERE batch_id = %s", name))
        arn = stack.execution(name)["executionArn"]
        stack.aws("stepfunctions").stop_execution(executionArn=arn)
        ended(stack, name)
    assert json.loads(stack.run("show", name, "--json").stdout)["outcome"] == "open"
    done = stack.run("stop", name)
    assert done.stdout == f"{name} is stopped; none of its rows are visible\n"
    assert set(shown(stack, name).values()) == {"failed"}
    wait_for(lambda: left(stack, name) == [])
    assert state(stack, name) == ("failed", "the execution was stopped")
    assert [message["outcome"] for message in mailbox.of(name)] == ["failed"]


def test_a_failure_that_the_ledger_knows_better(stack: Stack, mailbox: Mailbox) -> None:
    """An execution that could not ask the ledger says failed; gc finds the batch committed, and says so everywhere."""
    lost = {"Type": "Pass", "Result": {"Error": "X"}, "ResultPath": "$.not_discarded", "Next": "DiscardFailed"}
    with held(stack, "ReadCommitResult", "", lost):
        name = start(stack, csv(rows(40, seed=884)), "answer-lost", 1)
        assert ended(stack, name)["error"] == "BatchFailed"
    stack.run("gc")
    assert set(shown(stack, name).values()) == {"committed"}
    assert [message["outcome"] for message in mailbox.of(name)] == ["failed", "committed"]


def test_a_committed_batch_that_was_undone(stack: Stack, tmp_path: Path) -> None:
    """After an undo the execution, which committed, is shown as undone too."""
    path = tmp_path / "taken-out.csv"
    path.write_bytes(csv(rows(40, seed=883)))
    name = stack.ingest(path)["batch_id"]
    assert set(shown(stack, name).values()) == {"committed"}
    stack.run("undo", name)
    assert set(shown(stack, name).values()) == {"undone"}


def test_a_start_of_what_has_failed_is_a_redo(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """`start` runs a failed file again, even one whose execution is forgotten and only the ledger remembers it."""
    bucket, key = stack.environment["RATESFLOW_BUCKET"], "incoming/_temporary/started.csv"
    put = stack.aws("s3").put_object(Bucket=bucket, Key=key, Body=csv(rows(40, seed=885)))
    name = execution_name(bucket, key, put["VersionId"])
    insert = "INSERT INTO batches (batch_id, bucket, key, version, state, closed_at) VALUES (%s, %s, %s, %s, %s, now())"
    for taken in (name, f"{name}-r1"):
        stack.ask(insert, taken, bucket, key, put["VersionId"], "failed")
    monkeypatch.setattr(starting, "RETENTION", timedelta())
    environment = find_environment(stack.home)
    address = f"s3://{bucket}/{key}"
    assert starting.start_object(environment, address) == f"{name}-r2"
    assert ended(stack, f"{name}-r2")["status"] == "SUCCEEDED"
    assert state(stack, f"{name}-r2")[0] == "committed"


def test_a_start_of_what_is_known_leaves_or_redoes_it(stack: Stack) -> None:
    """`start` leaves a committed batch as it is; one that was rejected runs again, under the name of a redo."""
    bucket = stack.environment["RATESFLOW_BUCKET"]
    for text, outcome, again in ((csv(rows(40, seed=886)), "committed", ""), (b"nothing\n", "rejected", "-r1")):
        key = f"incoming/_temporary/{outcome}.csv"
        stack.aws("s3").put_object(Bucket=bucket, Key=key, Body=text)
        name = stack.run("start", f"s3://{bucket}/{key}").stdout.strip()
        assert ended(stack, name)["status"] == "SUCCEEDED"
        assert state(stack, name)[0] == outcome
        assert stack.run("start", f"s3://{bucket}/{key}").stdout.strip() == f"{name}{again}"
