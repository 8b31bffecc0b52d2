"""After SIGKILL of the whole stack with batches in every step, `up` finishes each batch once."""

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil

from tests.loader.samples import csv, rows
from tests.local.conftest import Stack
from tests.local.process_control import ended, leftovers, send, start, state
from tests.local.signaller import Signaller
from tests.waiting import wait_for


def kill(stack: Stack) -> None:
    """Kill all processes of the stack at once, as a power failure does."""
    os.kill(int((stack.home / "stack.pid").read_text()), signal.SIGKILL)
    for process in stack.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for(lambda: not stack.processes())


def lose_event(stack: Stack, folder: Path, name: str, seed: int) -> str:
    """Upload a file whose event is lost."""
    events = stack.aws("events")
    (target,) = events.list_targets_by_rule(Rule="ratesflow-arrivals")["Targets"]
    events.remove_targets(Rule="ratesflow-arrivals", Ids=[target["Id"]])
    lost = send(stack, folder, csv(rows(150, seed=seed)), name)
    events.put_targets(Rule="ratesflow-arrivals", Targets=[target])
    return lost


def test_every_batch_survives_a_crash(own_stack: Stack, tmp_path: Path) -> None:
    """After a crash, ended executions are kept; running ones, a redo and an array among them, keep their names."""
    stack = own_stack
    stack.up()
    before = send(stack, tmp_path, csv(rows(150, seed=30)), "before")
    first = ended(stack, before)
    with Signaller(stack, "validate", "stopped-", signal.SIGSTOP) as signaller:
        stopped = send(stack, tmp_path, csv(rows(150, seed=31)), "stopped")
        wait_for(lambda: signaller.signalled)
        stack.run("stop", stopped)
    # Suspend only one shard: two would occupy both slots before the redo reaches its commit.
    one_load = Signaller(stack, "load", "shards", signal.SIGSTOP, times=1)
    with Signaller(stack, "commit", "stopped-", signal.SIGSTOP) as commits, one_load as loads:
        redone = stack.run("redo", stopped).stdout.strip()
        shards = start(stack, csv(rows(900, seed=32)), "shards", 3)
        wait_for(lambda: commits.signalled and loads.signalled)
        waiting = send(stack, tmp_path, csv(rows(150, seed=33)), "waiting")  # both slots are occupied
        gone = send(stack, tmp_path, csv(rows(150, seed=34)), "gone")
        wait_for(lambda: stack.execution(gone))
        _delete(stack, "incoming/gone.csv")
        lost = lose_event(stack, tmp_path, "lost", 35)
        kill(stack)
    stack.up()
    running = {redone: 150, shards: 900, waiting: 150, lost: 150}
    for name, count in running.items():
        assert ended(stack, name)["status"] == "SUCCEEDED"
        assert state(stack, name)[0] == "committed"
        query = "SELECT count(*) FROM committed_prices JOIN batches USING (batch_no) WHERE batch_id = %s"
        assert stack.query(query, name) == [(count,)]
    assert ended(stack, gone)["status"] == "FAILED"
    assert leftovers(stack, gone) == []
    assert "its version is no longer in the bucket, so it cannot be redone" in stack.run("show", gone).stdout
    _check_history_survives(stack, first, stopped, redone)


def _delete(stack: Stack, key: str) -> None:
    s3, bucket = stack.aws("s3"), stack.environment["RATESFLOW_BUCKET"]
    (version,) = s3.list_object_versions(Bucket=bucket, Prefix=key)["Versions"]
    s3.delete_object(Bucket=bucket, Key=key, VersionId=version["VersionId"])


def _check_history_survives(stack: Stack, first: dict[str, Any], stopped: str, redone: str) -> None:
    """Check that an ended execution is described as before, keeps its name, and can be redone."""
    states = stack.aws("stepfunctions")
    described = states.describe_execution(executionArn=first["executionArn"])
    fields = ("name", "status", "input", "output", "startDate", "stopDate", "stateMachineArn")
    assert {field: described[field] for field in fields} == {field: first[field] for field in fields}
    history = states.get_execution_history(executionArn=first["executionArn"], maxResults=1000)["events"]
    assert history[-1]["type"] == "ExecutionSucceeded"
    assert "committed" in stack.run("show", first["name"]).stdout
    listed = json.loads(stack.run("executions", "--json").stdout)
    assert [each["batch_id"] for each in listed].count(stopped) == 1
    assert f"redo of   {stopped}" in stack.run("show", redone).stdout
    second = stack.run("redo", stopped).stdout.strip()
    assert second == f"{stopped}-r2"
    assert json.loads(ended(stack, second)["output"])["outcome"] == "duplicate"


def test_batch_continues_after_down_and_up(own_stack: Stack, tmp_path: Path) -> None:
    """A batch that is loading when the stack is stopped continues after `up`."""
    own_stack.up()
    with Signaller(own_stack, "load", "paused-", signal.SIGSTOP) as signaller:
        name = send(own_stack, tmp_path, csv(rows(150, seed=36)), "paused")
        wait_for(lambda: signaller.signalled)
        own_stack.run("down")
    own_stack.up()
    assert ended(own_stack, name)["status"] == "SUCCEEDED"
    assert state(own_stack, name)[0] == "committed"
