"""SIGKILL of the whole stack with batches at every step, and `up`: each ends once, or says how to run it again."""

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil

from tests.loader.samples import csv, rows
from tests.local.conftest import Stack
from tests.local.process_control import Signaller, ended, left, send, start, state, wait_for


def kill(stack: Stack) -> None:
    """End the whole stack as a power cut does: all of its processes, with no time to say anything."""
    os.kill(int((stack.home / "stack.pid").read_text()), signal.SIGKILL)
    for process in stack.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for(lambda: not stack.processes())


def lose_event(stack: Stack, folder: Path, name: str, seed: int) -> str:
    """Upload a file whose event nobody gets."""
    events = stack.aws("events")
    (target,) = events.list_targets_by_rule(Rule="ratesflow-arrivals")["Targets"]
    events.remove_targets(Rule="ratesflow-arrivals", Ids=[target["Id"]])
    lost = send(stack, folder, csv(rows(150, seed=seed)), name)
    events.put_targets(Rule="ratesflow-arrivals", Targets=[target])
    return lost


def test_every_batch_survives_a_crash(own_stack: Stack, tmp_path: Path) -> None:
    """Ended executions stay known; those under way, a redo and one of shards among them, go on by their own names."""
    stack = own_stack
    stack.up()
    before = send(stack, tmp_path, csv(rows(150, seed=30)), "before")
    first = ended(stack, before)
    with Signaller(stack, "validate", "stopped-", signal.SIGSTOP) as hand:
        stopped = send(stack, tmp_path, csv(rows(150, seed=31)), "stopped")
        wait_for(lambda: hand.hit)
        stack.run("stop", stopped)
    # One shard alone, or two of them take both places before the redo has come to its commit.
    one_load = Signaller(stack, "load", "shards", signal.SIGSTOP, times=1)
    with Signaller(stack, "commit", "stopped-", signal.SIGSTOP) as commits, one_load as loads:
        redone = stack.run("redo", stopped).stdout.strip()
        shards = start(stack, csv(rows(900, seed=32)), "shards", 3)
        wait_for(lambda: commits.hit and loads.hit)
        waiting = send(stack, tmp_path, csv(rows(150, seed=33)), "waiting")  # both places are taken
        gone = send(stack, tmp_path, csv(rows(150, seed=34)), "gone")
        wait_for(lambda: stack.execution(gone))
        _delete(stack, "incoming/gone.csv")
        lost = lose_event(stack, tmp_path, "lost", 35)
        kill(stack)
    stack.up()
    under_way = {redone: 150, shards: 900, waiting: 150, lost: 150}
    for name, count in under_way.items():
        assert ended(stack, name)["status"] == "SUCCEEDED"
        assert state(stack, name)[0] == "committed"
        query = "SELECT count(*) FROM committed_prices JOIN batches USING (batch_no) WHERE batch_id = %s"
        assert stack.ask(query, name) == [(count,)]
    assert ended(stack, gone)["status"] == "FAILED"
    assert left(stack, gone) == []
    assert "its version is no longer in the bucket, so it cannot be redone" in stack.run("show", gone).stdout
    _is_remembered(stack, first, stopped, redone)


def _delete(stack: Stack, key: str) -> None:
    s3, bucket = stack.aws("s3"), stack.environment["RATESFLOW_BUCKET"]
    (version,) = s3.list_object_versions(Bucket=bucket, Prefix=key)["Versions"]
    s3.delete_object(Bucket=bucket, Key=key, VersionId=version["VersionId"])


def _is_remembered(stack: Stack, first: dict[str, Any], stopped: str, redone: str) -> None:
    """What ended before the crash is told as before, its name stays taken, and it can be redone."""
    states = stack.aws("stepfunctions")
    again = states.describe_execution(executionArn=first["executionArn"])
    told = ("name", "status", "input", "output", "startDate", "stopDate", "stateMachineArn")
    assert {field: again[field] for field in told} == {field: first[field] for field in told}
    history = states.get_execution_history(executionArn=first["executionArn"], maxResults=1000)["events"]
    assert history[-1]["type"] == "ExecutionSucceeded"
    assert "committed" in stack.run("show", first["name"]).stdout
    listed = json.loads(stack.run("executions", "--json").stdout)
    assert [each["batch_id"] for each in listed].count(stopped) == 1
    assert f"redo of   {stopped}" in stack.run("show", redone).stdout
    second = stack.run("redo", stopped).stdout.strip()
    assert second == f"{stopped}-r2"
    assert json.loads(ended(stack, second)["output"])["outcome"] == "duplicate"


def test_down_in_the_middle_of_a_batch_loses_nothing(own_stack: Stack, tmp_path: Path) -> None:
    """A stack that is put down while a batch loads goes on with it when it is up again."""
    own_stack.up()
    with Signaller(own_stack, "load", "paused-", signal.SIGSTOP) as hand:
        name = send(own_stack, tmp_path, csv(rows(150, seed=36)), "paused")
        wait_for(lambda: hand.hit)
        own_stack.run("down")
    own_stack.up()
    assert ended(own_stack, name)["status"] == "SUCCEEDED"
    assert state(own_stack, name)[0] == "committed"
