"""Two processes at the same work: a zombie attempt beside its retry, an answer that nobody heard."""

import signal
import subprocess
from pathlib import Path

import psutil

from tests.loader.samples import csv, rows
from tests.local.conftest import Stack
from tests.local.hands import Hand, Mailbox, ended, send, state, tasks_of, wait_for


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
    with Hand("load", "zombie-", signal.SIGSTOP, times=1) as hand:
        name = send(stack, tmp_path, csv(rows(400, seed=870)), "zombie")
        wait_for(lambda: hand.hit)
    (load,) = tasks_of("load", "zombie-")
    zombie = twin(load, RATESFLOW_FAULT="wait:10")
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


def test_a_commit_that_nobody_heard_is_a_commit(stack: Stack, tmp_path: Path) -> None:
    """The batch is committed but every attempt of the job dies: the ledger has the last word, and it succeeds."""
    mailbox = Mailbox(stack)
    with Hand("commit", "unheard-", signal.SIGSTOP, times=1) as hand:
        name = send(stack, tmp_path, csv(rows(400, seed=871)), "unheard")
        wait_for(lambda: hand.hit)
    (commit,) = tasks_of("commit", "unheard-")
    assert twin(commit).wait(60) == 0
    assert state(stack, name)[0] == "committed"
    with Hand("commit", "unheard-", signal.SIGKILL) as hand:
        execution = ended(stack, name)
    assert len(hand.hit) == 3
    assert execution["status"] == "SUCCEEDED"
    history = stack.aws("stepfunctions").get_execution_history(executionArn=execution["executionArn"], maxResults=1000)[
        "events"
    ]
    entered = [event["stateEnteredEventDetails"]["name"] for event in history if "stateEnteredEventDetails" in event]
    assert "SettledBefore" in entered
    assert [message["outcome"] for message in mailbox.of(name)] == ["committed"]
    assert visible(stack, name) == 400
    assert not tasks_of("discard", name)


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
