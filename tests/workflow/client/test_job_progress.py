"""The progress of a running job on the embedded stack, single and as an array."""

import threading
import time

import pytest

from ratesflow.workflow.client.environment import Environment, find_environment
from ratesflow.workflow.client.errors import ExecutionMissingError
from ratesflow.workflow.client.executions import get_execution, get_steps
from ratesflow.workflow.client.history import summarize
from ratesflow.workflow.client.job_logs import format_log_line, last_lines
from ratesflow.workflow.client.job_progress import JobPoller, JobProgress, failed_attempts, read_progress
from tests.loader.samples import csv, rows
from tests.local.conftest import Stack
from tests.local.process_control import start
from tests.local.signaller import slow_motion

ROWS = 2_400_000


@pytest.fixture(scope="module")
def environment(stack: Stack) -> Environment:
    return find_environment(stack.home)


def watch(environment: Environment, name: str, polled: threading.Event | None = None) -> dict[str, list[JobProgress]]:
    """Poll the job of each task until the execution has ended; return its progress, by task.

    `polled` is set after each round in which each job was polled once.
    """
    pollers: dict[str, JobPoller] = {}
    seen: dict[str, list[JobProgress]] = {}
    status = "RUNNING"
    while status == "RUNNING":
        try:
            status = get_execution(environment, name).status
        except ExecutionMissingError:
            continue
        for line in summarize(get_steps(environment, name)):
            if line.job_id:
                progress = pollers.setdefault(line.name, JobPoller(environment, line.job_id)).poll()
                assert progress is not None
                seen.setdefault(line.name, []).append(progress)
        if polled:
            polled.set()
        time.sleep(0.1)
    assert status == "SUCCEEDED", get_execution(environment, name).message
    return seen


@pytest.mark.parametrize("shards", [1, 3])
def test_rows_and_fraction_grow_to_the_whole(environment, stack, shards):
    """Rows and fraction of validate and load never decrease and end complete, with and without shards."""
    header, _, body = csv(rows(20_000, seed=50 + shards)).partition(b"\n")
    name = start(stack, header + b"\n" + body * (ROWS // 20_000), f"progress-{shards}", shards)
    polled = threading.Event()
    with slow_motion(stack, name, observed=polled):
        seen = watch(environment, name, polled)
    for task in ("validate", "load"):
        counts = [one.rows for one in seen[task] if one.rows is not None]
        fractions = [one.fraction for one in seen[task] if one.fraction is not None]
        assert counts == sorted(counts)
        assert fractions == sorted(fractions)
        assert any(0 < fraction < 1 for fraction in fractions), task
        assert (counts[-1], fractions[-1]) == (ROWS, 1.0)
    assert all(one.rows is None for one in seen["commit"])
    assert {one.waits for one in seen["validate"]} <= {"", "starting", "queued"}


def test_log_keeps_what_matters(environment, stack):
    """The last lines of a log keep one of several progress lines in a row, and all other lines."""
    name = start(stack, csv(rows(400, seed=59)), "lines-1", 1)
    watch(environment, name)
    (job,) = [line.job_id for line in summarize(get_steps(environment, name)) if line.name == "validate"]
    logs = stack.aws("logs")
    stream = stack.aws("batch").describe_jobs(jobs=[job])["jobs"][0]["container"]["logStreamName"]
    more = [f'{{"message": "progress", "rows": {count}, "share": 0.5}}' for count in range(60)]
    events = [{"timestamp": time.time_ns() // 1_000_000, "message": line} for line in [*more, '{"message": "end"}']]
    group = environment["RATESFLOW_LOG_GROUP"]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
    lines = last_lines(environment, stream, 10)
    assert lines[0] == "INFO started"
    assert lines[-2:] == ["INFO progress: 59 rows", "INFO end"]
    assert "INFO accepted: 400 rows" in lines
    assert sum("progress" in line for line in lines) == 2
    logs.create_log_stream(logGroupName=group, logStreamName="silent")
    assert last_lines(environment, "silent") == last_lines(environment, "missing") == []


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ('{"message": "progress", "rows": 12, "share": 0.25}', (12, 0.25)),
        ('{"message": "progress", "rows": "many"}', None),
        ('{"message": "accepted", "rows": 12}', None),
        ("[1]", None),
        ("Killed", None),
    ],
)
def test_only_progress_lines_are_read(line, read):
    """Any other line of a task, JSON or not, is not progress."""
    assert read_progress(line) == read
    assert format_log_line(line)


def test_failed_attempts_have_reason_and_exit_code():
    """Each failed attempt before the current or last one is reported with its exit code and reason."""
    killed = {"container": {"exitCode": 137, "reason": "OutOfMemoryError"}, "statusReason": "Essential container"}
    job = {"status": "RUNNING", "attempts": [killed]}
    expected = ("attempt 1 failed: Essential container, OutOfMemoryError, exit code 137; retrying",)
    assert failed_attempts(job) == expected
    assert failed_attempts({"status": "SUCCEEDED", "attempts": [killed, {}]}) == expected
    assert failed_attempts({"status": "FAILED", "attempts": [killed]}) == ()
    assert failed_attempts({"status": "RUNNABLE"}) == ()
