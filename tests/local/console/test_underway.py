"""How far a job is that runs: on the embedded stack, alone and as an array."""

import time

import pytest

from ratesflow.workflow.client.environment import Environment, find_environment
from ratesflow.workflow.client.executions import ExecutionMissingError, get_execution, get_steps
from ratesflow.workflow.client.history import summarize
from ratesflow.workflow.client.job_logs import last_lines, line_in_words
from ratesflow.workflow.client.job_progress import JobPoller, Underway, failed_attempts, read_progress
from tests.loader.samples import csv, rows
from tests.local.conftest import Stack
from tests.local.hands import slow_motion, start

ROWS = 1_200_000


@pytest.fixture(scope="module")
def environment(stack: Stack) -> Environment:
    return find_environment(stack.home)


def watch(environment: Environment, name: str) -> dict[str, list[Underway]]:
    """Look at the job of each task until the execution has ended; return what was seen, by task."""
    watches: dict[str, JobPoller] = {}
    seen: dict[str, list[Underway]] = {}
    status = "RUNNING"
    while status == "RUNNING":
        try:
            status = get_execution(environment, name).status
        except ExecutionMissingError:
            continue
        for line in summarize(get_steps(environment, name)):
            if line.job_id:
                look = watches.setdefault(line.name, JobPoller(environment, line.job_id)).look()
                assert look is not None
                seen.setdefault(line.name, []).append(look)
        time.sleep(0.1)
    assert status == "SUCCEEDED", get_execution(environment, name).words
    return seen


@pytest.mark.parametrize("shards", [1, 3])
def test_rows_and_share_grow_to_the_whole(environment, stack, shards):
    """Rows and share of validate and load never fall, are seen under way, and end with all of them, shards or none."""
    header, _, body = csv(rows(20_000, seed=50 + shards)).partition(b"\n")
    name = start(stack, header + b"\n" + body * (ROWS // 20_000), f"under-way-{shards}", shards)
    with slow_motion(stack, name):
        seen = watch(environment, name)
    for task in ("validate", "load"):
        counts = [look.rows for look in seen[task] if look.rows is not None]
        shares = [look.share for look in seen[task] if look.share is not None]
        assert counts == sorted(counts)
        assert shares == sorted(shares)
        assert any(0 < share < 1 for share in shares)
        assert (counts[-1], shares[-1]) == (ROWS, 1.0)
    assert all(look.rows is None for look in seen["commit"])
    assert {look.waits for look in seen["validate"]} <= {"", "starts", "waits in the job queue"}


def test_log_keeps_what_matters(environment, stack):
    """The last lines of a log have one progress line where many stand together, and the others whole."""
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
    """Whatever else a task prints, JSON or not, is no progress."""
    assert read_progress(line) == read
    assert line_in_words(line)


def test_attempts_that_were_repeated_are_told():
    """Each attempt but the one that runs or has ended the job is told with its exit code and reason."""
    killed = {"container": {"exitCode": 137, "reason": "OutOfMemoryError"}, "statusReason": "Essential container"}
    job = {"status": "RUNNING", "attempts": [killed]}
    told = ("attempt 1 ended: Essential container, OutOfMemoryError, exit code 137; it is tried again",)
    assert failed_attempts(job) == told
    assert failed_attempts({"status": "SUCCEEDED", "attempts": [killed, {}]}) == told
    assert failed_attempts({"status": "FAILED", "attempts": [killed]}) == ()
    assert failed_attempts({"status": "RUNNABLE"}) == ()
