"""Two processes at the same work: a zombie attempt beside its retry, an answer that nobody heard."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil

from tests.loader.samples import csv, rows
from tests.local.batches.test_schemas import check
from tests.local.conftest import Stack
from tests.local.process_control import Mailbox, Signaller, ended, send, signal_to, state, tasks_of, wait_for


def twin(process: psutil.Process, **variables: str) -> "subprocess.Popen[bytes]":
    """Start a second process of a task, as Batch does when it has lost sight of the first."""
    return subprocess.Popen(
        process.cmdline(), env={**process.environ(), **variables}, cwd=process.cwd(), stdout=subprocess.DEVNULL
    )


def visible(stack: Stack, name: str) -> int:
    """Return how many prices of a batch people can read."""
    query = "SELECT count(*) FROM committed_prices JOIN batches USING (batch_no) WHERE batch_id = %s"
    return int(stack.ask(query, name)[0][0])


def test_a_zombie_beside_its_retry_does_no_harm(stack: Stack, tmp_path: Path) -> None:
    """An attempt that stands still in the middle of its load, awake again after the commit, changes nothing."""
    with Signaller(stack, "load", "zombie-", signal.SIGSTOP, times=1) as hand:
        name = send(stack, tmp_path, csv(rows(400, seed=870)), "zombie")
        wait_for(lambda: hand.hit)
    (load,) = tasks_of(stack, "load", "zombie-")
    zombie = twin(load, RATESFLOW_FAULT_INJECTION="wait:10")
    try:
        wait_for(lambda: psutil.Process(zombie.pid).status() == psutil.STATUS_STOPPED)
        load.send_signal(signal.SIGCONT)
        assert ended(stack, name)["status"] == "SUCCEEDED"
        before = stack.ask("SELECT version FROM data_version")
        zombie.send_signal(signal.SIGCONT)
        assert zombie.wait(60) in (65, 75)
    finally:
        zombie.kill()
    assert visible(stack, name) == 400
    assert stack.ask("SELECT version FROM data_version") == before
    query = "SELECT count(*) FROM shards JOIN batches USING (batch_no) WHERE batch_id = %s AND done_at IS NOT NULL"
    assert stack.ask(query, name) == [(2,)]


def unheard_commit(stack: Stack, tmp_path: Path, name: str, seed: int) -> str:
    """Send a batch and commit it beside its own job, which stands still before it has done anything; return its id."""
    with Signaller(stack, "commit", f"{name}-", signal.SIGSTOP, times=1) as hand:
        batch = send(stack, tmp_path, csv(rows(400, seed=seed)), name)
        wait_for(lambda: hand.hit)
    (commit,) = tasks_of(stack, "commit", f"{name}-")
    assert twin(commit).wait(60) == 0
    assert state(stack, batch)[0] == "committed"
    return batch


def entered(stack: Stack, execution: dict[str, Any]) -> list[str]:
    """Return the names of the states that an execution entered."""
    states, arn = stack.aws("stepfunctions"), execution["executionArn"]
    events = states.get_execution_history(executionArn=arn, maxResults=1000)["events"]
    return [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]


def test_a_commit_that_nobody_heard_is_a_commit(stack: Stack, tmp_path: Path) -> None:
    """The batch is committed but every attempt of the job dies: the ledger has the last word, and it succeeds."""
    mailbox = Mailbox(stack)
    name = unheard_commit(stack, tmp_path, "unheard", 871)
    with Signaller(stack, "commit", "unheard-", signal.SIGKILL) as hand:
        execution = ended(stack, name)
    assert len(hand.hit) == 3
    assert execution["status"] == "SUCCEEDED"
    assert "AlreadyClosed" in entered(stack, execution)
    assert [message["outcome"] for message in mailbox.of(name)] == ["committed"]
    assert visible(stack, name) == 400
    assert not tasks_of(stack, "discard", name)


def test_a_commit_that_nobody_heard_and_somebody_undid_is_told_as_undone(stack: Stack, tmp_path: Path) -> None:
    """Undone while its job has not answered, a batch did not fail: ledger, execution and notification say the same."""
    mailbox = Mailbox(stack)
    name = unheard_commit(stack, tmp_path, "takenback", 873)
    stack.run("undo", name)
    signal_to(tasks_of(stack, "commit", "takenback-"), signal.SIGCONT)  # it finds the batch undone, and gives up
    execution = ended(stack, name)
    stack.run("gc")
    assert state(stack, name)[0] == "undone"
    assert (execution["status"], json.loads(execution["output"])["outcome"]) == ("SUCCEEDED", "undone")
    (message,) = mailbox.of(name)
    assert (message["outcome"], message["notification_id"]) == ("undone", f"{name}:undone")
    check("notification", message)
    assert visible(stack, name) == 0
    again = stack.run("redo", name).stdout.strip()
    assert json.loads(ended(stack, again)["output"])["outcome"] == "committed"
    assert visible(stack, again) == 400


def test_payloads_stay_small(stack: Stack, tmp_path: Path) -> None:
    """No state of an execution is given a job's description, and none more than a few kilobytes."""
    name = send(stack, tmp_path, csv(rows(400, seed=872)), "payload")
    execution = ended(stack, name)
    history = stack.aws("stepfunctions").get_execution_history(executionArn=execution["executionArn"], maxResults=1000)[
        "events"
    ]
    given = [event["stateEnteredEventDetails"]["input"] for event in history if "stateEnteredEventDetails" in event]
    assert max(map(len, given)) < 8192
    assert not any("JobDefinition" in text for text in given)
