"""Batch jobs as processes: their parameters and environment, how they end, and their descriptions."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from ratesflow.local.aws.batch.patch import _Jobs
from tests.local.aws.aws_stack import wait_for


def test_parameters_are_substituted_in_the_command(jobs):
    """A job's parameters override its definition's, and both replace Ref::name in the command."""
    job = jobs.run(
        containerOverrides={"command": ["echo", "Ref::greeting", "Ref::name", "a-Ref::name", "Ref::unknown"]},
        parameters={"name": "world"},
    )
    assert jobs.log(job) == ["hello world a-world Ref::unknown"]


def test_environment_of_a_job(stack, jobs):
    """A job's environment has its ids, the endpoint of AWS, and the variables of file, definition and overrides."""
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


def test_describing_a_job_does_not_change_it(jobs):
    """Describing a job twice returns the same description."""
    job = jobs.run(containerOverrides={"environment": [{"name": "ONE", "value": "1"}]})
    assert jobs.describe(job["jobId"]) == jobs.describe(job["jobId"])
    assert {"name": "ONE", "value": "1"} in job["container"]["environment"]


def test_success(jobs):
    """A job with exit code 0 succeeds, with one attempt and its log stream."""
    job = jobs.run("true")
    assert (job["status"], job["statusReason"]) == ("SUCCEEDED", "Essential container in task exited")
    assert job["container"]["exitCode"] == 0
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [0]
    assert job["attempts"][0]["container"]["logStreamName"] == job["container"]["logStreamName"]
    assert job["createdAt"] <= job["startedAt"] <= job["stoppedAt"]
    assert re.fullmatch(r"shell/default/[\w-]+", job["container"]["logStreamName"])


def test_exit_code_of_a_failure(jobs):
    """The description of a failed job has its exit code, for the job and for the attempt."""
    job = jobs.run("exit 17")
    assert job["status"] == "FAILED"
    assert job["container"]["exitCode"] == job["attempts"][0]["container"]["exitCode"] == 17
    assert job["attempts"][0]["statusReason"] == "Essential container in task exited"


def test_killed_process_exits_137(jobs):
    """A process ended by SIGKILL has exit code 137."""
    assert jobs.run("kill -9 $$")["container"]["exitCode"] == 137


def test_command_that_does_not_exist(jobs):
    """A job whose command cannot be started has a reason, but no exit code and no log stream."""
    job = jobs.run(containerOverrides={"command": ["/no/such/command"]})
    assert (job["status"], job["statusReason"]) == ("FAILED", "Task failed to start")
    assert "exitCode" not in job["container"]
    assert "logStreamName" not in job["container"]
    assert job["container"]["reason"].startswith("CannotStartContainerError")


def test_log_lines_appear_while_the_job_runs(stack, jobs):
    """Lines appear in the log as soon as they are written, each with its own time in milliseconds."""
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
    """An attempt that exceeds its timeout is terminated and not retried."""
    job = jobs.run("sleep 30", timeout={"attemptDurationSeconds": 1}, retryStrategy={"attempts": 3})
    assert (job["status"], job["statusReason"]) == ("FAILED", "Job attempt duration exceeded timeout")
    assert len(job["attempts"]) == 1
    assert job["container"]["exitCode"] == 143


def test_terminate_is_sigterm(stack, jobs):
    """TerminateJob sends SIGTERM, which ends a job without a handler with exit code 143."""
    script = "import signal, time; print(signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True); time.sleep(30)"
    job_id = jobs.submit(containerOverrides={"command": ["python", "-c", script]})
    job = jobs.until(job_id, "RUNNING")
    assert wait_for(lambda: jobs.log(job)) == ["set()"]
    began = time.monotonic()
    stack.client("batch").terminate_job(jobId=job_id, reason="over")
    assert jobs.end(job_id)["container"]["exitCode"] == 143
    assert time.monotonic() - began < 0.9  # before the grace period is over


def test_terminate_kills_after_the_grace_period(stack, jobs):
    """TerminateJob sends SIGTERM to the whole process group, and SIGKILL after the grace period."""
    job_id = jobs.submit("trap '' TERM; echo ready; while true; do sleep 0.1; done")
    job = jobs.until(job_id, "RUNNING")
    wait_for(lambda: jobs.log(job))
    stack.client("batch").terminate_job(jobId=job_id, reason="terminated by the operator")
    job = jobs.end(job_id)
    assert (job["status"], job["statusReason"]) == ("FAILED", "terminated by the operator")
    assert job["container"]["exitCode"] == 137


def test_cancel_leaves_running_jobs_alone(stack, jobs):
    """CancelJob ends a job that waits for a slot, and leaves a running one alone."""
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
    """A job waits for the jobs that it depends on, and fails if one of them fails."""
    first = jobs.submit("sleep 0.3")
    second = jobs.submit("true", dependsOn=[{"jobId": first}])
    assert jobs.describe(second)["status"] == "PENDING"
    assert jobs.end(second)["startedAt"] >= jobs.describe(first)["stoppedAt"]
    failed = jobs.run("exit 1")
    assert jobs.run("true", dependsOn=[{"jobId": failed["jobId"]}])["statusReason"] == "Dependent Job failed"


def test_unknown_definition_is_rejected(stack):
    """A job whose definition does not exist is rejected."""
    with pytest.raises(ClientError, match="does not exist"):
        stack.client("batch").submit_job(jobName="test", jobQueue="queue", jobDefinition="none")


def test_jobs_can_be_submitted_while_others_are_described(stack, jobs):
    """Submissions in one thread do not fail requests in another, as iterating over moto's dictionary would."""
    batch = stack.client("batch")
    with ThreadPoolExecutor(4) as pool:
        submitted = [pool.submit(jobs.submit, "true") for _ in range(60)]
        listed = [pool.submit(batch.list_jobs, jobQueue="queue") for _ in range(60)]
        described = [pool.submit(batch.describe_jobs, jobs=["unknown"]) for _ in range(120)]
    ids = {each.result() for each in submitted}
    assert len(ids) == 60
    assert all(each.result()["jobs"] == [] for each in described)
    assert all(each.result() for each in listed)
    snapshot = _Jobs({"one": 1})
    for _ in snapshot.items():
        snapshot["another"] = 2
    assert len(snapshot) == 2
