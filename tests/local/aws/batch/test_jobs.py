"""Batch jobs as processes: what they are given, how they end, and what is said of it."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from ratesflow.local.aws.batch.patch import _Jobs
from tests.local.aws.aws_stack import wait_for


def test_parameters_fill_the_places_of_the_command(jobs):
    """A job's parameters win over its definition's, and both go where the command says Ref::name."""
    job = jobs.run(
        containerOverrides={"command": ["echo", "Ref::greeting", "Ref::who", "a-Ref::who", "Ref::unknown"]},
        parameters={"who": "world"},
    )
    assert jobs.log(job) == ["hello world a-world Ref::unknown"]


def test_environment_of_a_job(stack, jobs):
    """A job finds its identity, the address of AWS, and the variables of file, definition and overrides."""
    job = jobs.run("env", containerOverrides={"environment": [{"name": "FROM_OVERRIDES", "value": "1"}]})
    found = dict(line.split("=", 1) for line in jobs.log(job) if "=" in line)
    assert found["AWS_ENDPOINT_URL"] == stack.endpoint
    assert found["AWS_BATCH_JOB_ID"] == job["jobId"]
    assert found["AWS_BATCH_JOB_ATTEMPT"] == "1"
    assert found["AWS_BATCH_JQ_NAME"] == "queue"
    assert "AWS_BATCH_JOB_ARRAY_INDEX" not in found
    assert found["AWS_DEFAULT_REGION"] == "us-east-1"
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "FROM_FILE", "FROM_DEFINITION"} <= found.keys()
    assert found["FROM_OVERRIDES"] == "1"
    assert found["SHADE"] == "light"
    assert "PYTEST_CURRENT_TEST" not in found


def test_descriptions_do_not_change_by_describing(jobs):
    """Describing a job twice says the same twice."""
    job = jobs.run(containerOverrides={"environment": [{"name": "ONE", "value": "1"}]})
    assert jobs.describe(job["jobId"]) == jobs.describe(job["jobId"])
    assert {"name": "ONE", "value": "1"} in job["container"]["environment"]


def test_success(jobs):
    """A job that exits 0 has succeeded, with one attempt and its log stream."""
    job = jobs.run("true")
    assert (job["status"], job["statusReason"]) == ("SUCCEEDED", "Essential container in task exited")
    assert job["container"]["exitCode"] == 0
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [0]
    assert job["attempts"][0]["container"]["logStreamName"] == job["container"]["logStreamName"]
    assert job["createdAt"] <= job["startedAt"] <= job["stoppedAt"]
    assert re.fullmatch(r"shell/default/[\w-]+", job["container"]["logStreamName"])


def test_exit_code_of_a_failure(jobs):
    """The exit code of a failed job is in its description, of the job and of the attempt."""
    job = jobs.run("exit 17")
    assert job["status"] == "FAILED"
    assert job["container"]["exitCode"] == job["attempts"][0]["container"]["exitCode"] == 17
    assert job["attempts"][0]["statusReason"] == "Essential container in task exited"


def test_killed_process_exits_137(jobs):
    """A process ended by SIGKILL counts as exit code 137."""
    assert jobs.run("kill -9 $$")["container"]["exitCode"] == 137


def test_command_that_does_not_exist(jobs):
    """A job whose command can't be started has no exit code and no log stream, but a reason."""
    job = jobs.run(containerOverrides={"command": ["/no/such/command"]})
    assert (job["status"], job["statusReason"]) == ("FAILED", "Task failed to start")
    assert "exitCode" not in job["container"]
    assert "logStreamName" not in job["container"]
    assert job["container"]["reason"].startswith("CannotStartContainerError")


def test_log_lines_appear_while_the_job_runs(stack, jobs):
    """Lines are in the log within a moment of being written, each with its own time in milliseconds."""
    before = time.time() * 1000
    job_id = jobs.submit("echo one; sleep 0.4; echo two >&2; sleep 5")
    job = jobs.until(job_id, "RUNNING")
    time.sleep(0.7)
    assert jobs.log(job) == ["one", "two"]
    events = stack.client("logs").get_log_events(
        logGroupName="/aws/batch/job", logStreamName=job["container"]["logStreamName"]
    )["events"]
    assert before <= events[0]["timestamp"] <= events[1]["timestamp"] - 350
    stack.client("batch").terminate_job(jobId=job_id, reason="seen")


def test_timeout_of_an_attempt(jobs):
    """An attempt that lasts too long is ended and not repeated."""
    job = jobs.run("sleep 30", timeout={"attemptDurationSeconds": 1}, retryStrategy={"attempts": 3})
    assert (job["status"], job["statusReason"]) == ("FAILED", "Job attempt duration exceeded timeout")
    assert len(job["attempts"]) == 1
    assert job["container"]["exitCode"] == 143


def test_terminate_is_sigterm(stack, jobs):
    """A job can act on SIGTERM, and one that does not is ended by it: exit code 143."""
    script = "import signal, time; print(signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True); time.sleep(30)"
    job_id = jobs.submit(containerOverrides={"command": ["python", "-c", script]})
    job = jobs.until(job_id, "RUNNING")
    assert wait_for(lambda: jobs.log(job)) == ["set()"]
    began = time.monotonic()
    stack.client("batch").terminate_job(jobId=job_id, reason="over")
    assert jobs.end(job_id)["container"]["exitCode"] == 143
    assert time.monotonic() - began < 0.9  # before the grace is over


def test_terminate_gives_grace_then_kills(stack, jobs):
    """TerminateJob sends SIGTERM to the whole process group, and SIGKILL to what is left after the grace."""
    job_id = jobs.submit("trap '' TERM; echo ready; while true; do sleep 0.1; done")
    job = jobs.until(job_id, "RUNNING")
    wait_for(lambda: jobs.log(job))
    stack.client("batch").terminate_job(jobId=job_id, reason="the operator said so")
    job = jobs.end(job_id)
    assert (job["status"], job["statusReason"]) == ("FAILED", "the operator said so")
    assert job["container"]["exitCode"] == 137


def test_cancel_leaves_what_runs(stack, jobs):
    """CancelJob ends a job that waits for its slot and leaves alone one that runs."""
    batch = stack.client("batch")
    running = [jobs.submit("sleep 5") for _ in range(3)]
    for job_id in running:
        jobs.until(job_id, "RUNNING")
    waiting = jobs.submit("true")
    assert jobs.describe(waiting)["status"] == "RUNNABLE"
    for job_id in [*running, waiting]:
        batch.cancel_job(jobId=job_id, reason="not wanted")
    job = jobs.describe(waiting)
    assert (job["status"], job["statusReason"], job["attempts"]) == ("FAILED", "not wanted", [])
    assert "startedAt" not in job
    assert {jobs.describe(job_id)["status"] for job_id in running} == {"RUNNING"}
    for job_id in running:
        batch.terminate_job(jobId=job_id, reason="over")
        jobs.end(job_id)


def test_dependency(jobs):
    """A job waits for those that it depends on, and fails with them."""
    first = jobs.submit("sleep 0.3")
    second = jobs.submit("true", dependsOn=[{"jobId": first}])
    assert jobs.describe(second)["status"] == "PENDING"
    assert jobs.end(second)["startedAt"] >= jobs.describe(first)["stoppedAt"]
    failed = jobs.run("exit 1")
    assert jobs.run("true", dependsOn=[{"jobId": failed["jobId"]}])["statusReason"] == "Dependent Job failed"


def test_unknown_definition_is_refused(stack):
    """A job of a definition that does not exist is refused."""
    with pytest.raises(ClientError, match="does not exist"):
        stack.client("batch").submit_job(jobName="test", jobQueue="queue", jobDefinition="none")


def test_jobs_come_while_others_are_described(stack, jobs):
    """Submissions in one thread do not fail the questions of another, as moto's walk over a dictionary does."""
    batch = stack.client("batch")
    with ThreadPoolExecutor(4) as pool:
        submitted = [pool.submit(jobs.submit, "true") for _ in range(60)]
        asked = [pool.submit(batch.list_jobs, jobQueue="queue") for _ in range(60)]
        described = [pool.submit(batch.describe_jobs, jobs=["unknown"]) for _ in range(120)]
    ids = {each.result() for each in submitted}
    assert len(ids) == 60
    assert all(each.result()["jobs"] == [] for each in described)
    assert all(each.result() for each in asked)
    jobs_then = _Jobs({"one": 1})
    for _ in jobs_then.items():
        jobs_then["another"] = 2
    assert len(jobs_then) == 2
