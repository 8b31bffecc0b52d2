"""Two processes with the same work: a suspended attempt and its retry, and a commit whose response is lost."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from tests.loader.samples import csv, rows
from tests.local.batches.test_schemas import check
from tests.local.conftest import Stack
from tests.local.process_control import Mailbox, ended, record_of, send, signal_to, state, tasks_of
from tests.local.signaller import Signaller
from tests.waiting import wait_for


def start_second_process(stack: Stack, process: psutil.Process, **variables: str) -> "subprocess.Popen[bytes]":
    """Start a second process of a task, as Batch does when it has lost contact with the first."""
    record = wait_for(lambda: record_of(stack, process))
    environment = {**record["environment"], **variables}
    return subprocess.Popen([sys.executable, *record["command"][1:]], env=environment, stdout=subprocess.DEVNULL)


def visible_prices(stack: Stack, name: str) -> int:
    """Return how many prices of a batch are visible to readers."""
    query = "SELECT count(*) FROM committed_prices JOIN batches USING (batch_no) WHERE batch_id = %s"
    return int(stack.query(query, name)[0][0])


def test_suspended_attempt_changes_nothing_after_its_retry(stack: Stack, tmp_path: Path) -> None:
    """An attempt that is suspended during its load, and resumed after the commit, changes nothing."""
    with Signaller(stack, "load", "suspended-", signal.SIGSTOP, times=1) as signaller:
        name = send(stack, tmp_path, csv(rows(400, seed=870)), "suspended")
        wait_for(lambda: signaller.signalled)
    (load,) = tasks_of(stack, "load", "suspended-")
    suspended = start_second_process(stack, load, RATESFLOW_FAULT_INJECTION="wait:10")
    try:
        wait_for(lambda: psutil.Process(suspended.pid).status() == psutil.STATUS_STOPPED)
        load.send_signal(signal.SIGCONT)
        assert ended(stack, name)["status"] == "SUCCEEDED"
        before = stack.query("SELECT version FROM data_version")
        suspended.send_signal(signal.SIGCONT)
        assert suspended.wait(60) in (65, 75)
    finally:
        suspended.kill()
    assert visible_prices(stack, name) == 400
    assert stack.query("SELECT version FROM data_version") == before
    query = "SELECT count(*) FROM shards JOIN batches USING (batch_no) WHERE batch_id = %s AND done_at IS NOT NULL"
    assert stack.query(query, name) == [(2,)]


def lost_commit_response(stack: Stack, tmp_path: Path, name: str, seed: int) -> str:
    """Send a batch and commit it from a second process while its own job is suspended; return the batch's id."""
    with Signaller(stack, "commit", f"{name}-", signal.SIGSTOP, times=1) as signaller:
        batch = send(stack, tmp_path, csv(rows(400, seed=seed)), name)
        wait_for(lambda: signaller.signalled)
    (commit,) = tasks_of(stack, "commit", f"{name}-")
    assert start_second_process(stack, commit).wait(60) == 0
    assert state(stack, batch)[0] == "committed"
    return batch


def entered(stack: Stack, execution: dict[str, Any]) -> list[str]:
    """Return the names of the states that an execution entered."""
    states, arn = stack.aws("stepfunctions"), execution["executionArn"]
    events = states.get_execution_history(executionArn=arn, maxResults=1000)["events"]
    return [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]


def test_commit_whose_job_dies_is_committed(stack: Stack, tmp_path: Path) -> None:
    """If the batch is committed but every attempt of the job dies, the ledger decides, and the execution succeeds."""
    mailbox = Mailbox(stack)
    name = lost_commit_response(stack, tmp_path, "lost-response", 871)
    with Signaller(stack, "commit", "lost-response-", signal.SIGKILL) as signaller:
        execution = ended(stack, name)
    assert len(signaller.signalled) == 3
    assert execution["status"] == "SUCCEEDED"
    assert "AlreadyClosed" in entered(stack, execution)
    assert [message["outcome"] for message in mailbox.of(name)] == ["committed"]
    assert visible_prices(stack, name) == 400
    assert not tasks_of(stack, "discard", name)


def test_commit_whose_job_dies_and_is_undone_is_notified_as_undone(stack: Stack, tmp_path: Path) -> None:
    """A batch that is undone before its job has ended is `undone` in ledger, execution and notification."""
    mailbox = Mailbox(stack)
    name = lost_commit_response(stack, tmp_path, "undone-early", 873)
    stack.run("undo", name)
    signal_to(tasks_of(stack, "commit", "undone-early-"), signal.SIGCONT)  # it finds the batch undone, and exits
    execution = ended(stack, name)
    stack.run("gc")
    assert state(stack, name)[0] == "undone"
    assert (execution["status"], json.loads(execution["output"])["outcome"]) == ("SUCCEEDED", "undone")
    (message,) = mailbox.of(name)
    assert (message["outcome"], message["notification_id"]) == ("undone", f"{name}:undone")
    check("notification", message)
    assert visible_prices(stack, name) == 0
    again = stack.run("redo", name).stdout.strip()
    assert json.loads(ended(stack, again)["output"])["outcome"] == "committed"
    assert visible_prices(stack, again) == 400


def test_state_inputs_stay_small(stack: Stack, tmp_path: Path) -> None:
    """The input of each state is below 8 KiB and contains no job description."""
    name = send(stack, tmp_path, csv(rows(400, seed=872)), "payload")
    execution = ended(stack, name)
    history = stack.aws("stepfunctions").get_execution_history(executionArn=execution["executionArn"], maxResults=1000)[
        "events"
    ]
    inputs = [event["stateEnteredEventDetails"]["input"] for event in history if "stateEnteredEventDetails" in event]
    assert max(map(len, inputs)) < 8192
    assert not any("JobDefinition" in text for text in inputs)
