"""`.sync` tasks: a state that submits a Batch job and waits for it."""

import json
import time

import pytest
from botocore.exceptions import ClientError

from ratesflow.local.aws.stepfunctions.interpreter import _JobResolver
from tests.local.aws.aws_stack import wait_for

SUBMIT = "arn:aws:states:::batch:submitJob.sync"


def _task(script, **fields):
    return {
        "Type": "Task",
        "Resource": SUBMIT,
        "Parameters": {
            "JobName": "test",
            "JobQueue": "queue",
            "JobDefinition": "shell",
            "Parameters": {"script": script},
        },
        "End": True,
    } | fields


def _only(state, **states):
    return {"StartAt": "Only", "States": {"Only": state} | states}


def _job_ids(machines, execution):
    events = machines.history(execution)
    return [
        json.loads(event["taskSubmittedEventDetails"]["output"])["JobId"]
        for event in events
        if event["type"] == "TaskSubmitted"
    ]


def test_parameters_and_output_are_pascal_case(machines, jobs):
    """A task's nested parameters reach the job, and its output is the job's description in PascalCase."""
    task = _task("env")
    task["Parameters"] |= {
        "ContainerOverrides": {"Environment": [{"Name": "RUN", "Value.$": "$$.Execution.Name"}]},
        "ArrayProperties": {"Size.$": "$.size"},
        "RetryStrategy": {"Attempts": 2, "EvaluateOnExit": [{"OnExitCode": "*", "Action": "EXIT"}]},
        "Timeout": {"AttemptDurationSeconds": 60},
    }
    ended = machines.run(_only(task), {"size": 2})
    assert ended["status"] == "SUCCEEDED"
    job = json.loads(ended["output"])
    assert job["Status"] == "SUCCEEDED"
    assert job["ArrayProperties"]["StatusSummary"]["SUCCEEDED"] == 2
    assert job["RetryStrategy"]["EvaluateOnExit"] == [{"OnExitCode": "*", "Action": "EXIT"}]
    assert job["Timeout"] == {"AttemptDurationSeconds": 60}
    lines = jobs.log(jobs.describe(f"{job['JobId']}:0"))
    assert f"RUN={ended['name']}" in lines
    assert "MANAGED_BY_AWS=STARTED_BY_STEP_FUNCTIONS" in lines


def test_cause_of_a_failed_job_is_a_json_string(machines):
    """A failed job fails its task with States.TaskFailed and a Cause that is the job in PascalCase JSON."""
    task = _task("exit 70", Catch=[{"ErrorEquals": ["States.TaskFailed"], "Next": "Caught"}])
    ended = machines.run(_only(task, Caught={"Type": "Pass", "End": True}))
    caught = json.loads(ended["output"])
    assert caught["Error"] == "States.TaskFailed"
    cause = json.loads(caught["Cause"])
    assert (cause["Status"], cause["Container"]["ExitCode"]) == ("FAILED", 70)
    assert cause["Attempts"][0]["Container"]["ExitCode"] == 70
    assert cause["Attempts"][0]["StatusReason"] == "Essential container in task exited"
    assert cause["Container"]["LogStreamName"].startswith("shell/default/")


def test_failed_array_fails_its_task(machines):
    """A task whose array job has a failed child fails with AWS's reason."""
    task = _task('test "$AWS_BATCH_JOB_ARRAY_INDEX" = 0')
    task["Parameters"]["ArrayProperties"] = {"Size": 2}
    ended = machines.run(_only(task))
    assert (ended["status"], ended["error"]) == ("FAILED", "States.TaskFailed")
    assert json.loads(ended["cause"])["StatusReason"] == "Array Child Job failed"


def test_retried_task_waits_for_its_new_job(machines, jobs, tmp_path):
    """The second attempt of a task waits for its own job."""
    marker = tmp_path / "tried"
    script = f"test -e {marker} || {{ touch {marker}; exit 1; }}; sleep 0.6"
    retry = [{"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 1, "MaxAttempts": 2}]
    ended = machines.run(_only(_task(script, Retry=retry)))
    assert ended["status"] == "SUCCEEDED"
    submitted = _job_ids(machines, ended["executionArn"])
    assert [jobs.describe(job_id)["status"] for job_id in submitted] == ["FAILED", "SUCCEEDED"]


def test_task_timeout_terminates_its_job(machines, jobs):
    """TimeoutSeconds fails a task with States.Timeout and terminates its job."""
    task = _task("sleep 30", TimeoutSeconds=1, Catch=[{"ErrorEquals": ["States.Timeout"], "Next": "Caught"}])
    ended = machines.run(_only(task, Caught={"Type": "Pass", "End": True}))
    assert json.loads(ended["output"])["Error"] == "States.Timeout"
    (job_id,) = _job_ids(machines, ended["executionArn"])
    assert "stopped or timed out" in jobs.end(job_id)["statusReason"]


def test_timeout_from_the_input(machines, jobs):
    """TimeoutSecondsPath takes the timeout from the state's input, in each attempt of the task."""
    retry = [{"ErrorEquals": ["States.Timeout"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    began = time.monotonic()
    ended = machines.run(_only(_task("sleep 30", TimeoutSecondsPath="$.limit", Retry=retry)), {"limit": 1})
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Timeout")
    assert 3 <= time.monotonic() - began < 6
    submitted = _job_ids(machines, ended["executionArn"])
    assert [jobs.end(job_id)["status"] for job_id in submitted] == ["FAILED", "FAILED"]


def test_execution_timeout_terminates_its_job(machines, jobs):
    """TimeoutSeconds of the machine ends the execution as TIMED_OUT, with a stop date, and terminates its job."""
    ended = machines.run({"TimeoutSeconds": 1, **_only(_task("sleep 30"))})
    assert ended["status"] == "TIMED_OUT"
    assert ended["stopDate"] > ended["startDate"]
    (job_id,) = _job_ids(machines, ended["executionArn"])
    assert jobs.end(job_id)["status"] == "FAILED"


def test_stop_keeps_error_and_cause_and_ends_the_job(machines, jobs):
    """StopExecution terminates the job; description and history have its error and cause."""
    execution = machines.start(machines.create(_only(_task("sleep 30"))))
    (job_id,) = wait_for(lambda: _job_ids(machines, execution))
    jobs.until(job_id, "RUNNING")
    machines.client.stop_execution(executionArn=execution, error="Operator", cause="not today")
    ended = machines.client.describe_execution(executionArn=execution)
    assert (ended["status"], ended["error"], ended["cause"]) == ("ABORTED", "Operator", "not today")
    assert ended["stopDate"] >= ended["startDate"]
    assert jobs.end(job_id)["status"] == "FAILED"
    aborted = wait_for(
        lambda: last if (last := machines.history(execution)[-1])["type"] == "ExecutionAborted" else None
    )
    assert aborted["executionAbortedEventDetails"] == {"error": "Operator", "cause": "not today"}
    again = machines.client.stop_execution(executionArn=execution, error="Other", cause="other")
    assert again["stopDate"] == ended["stopDate"]


def test_jobs_of_parallel_branches_end_with_the_first_failure(machines, jobs):
    """When a branch of a Parallel fails, the jobs of the others are terminated, and the error keeps its name."""
    parallel = {
        "Type": "Parallel",
        "Branches": [_only(_task("sleep 30")), _only(_task("sleep 0.5; exit 1"))],
        "Catch": [{"ErrorEquals": ["States.TaskFailed"], "Next": "Caught", "ResultPath": "$.error"}],
        "End": True,
    }
    ended = machines.run(_only(parallel, Caught={"Type": "Pass", "End": True}))
    assert json.loads(ended["output"])["error"]["Error"] == "States.TaskFailed"
    for job_id in _job_ids(machines, ended["executionArn"]):
        assert jobs.end(job_id)["status"] == "FAILED"


def test_map_of_jobs(machines):
    """A Map runs a job for each item, and fails with States.TaskFailed if one fails."""
    inner = _task("test $AWS_BATCH_JOB_ID")
    inner["Parameters"]["Parameters"] = {"script.$": "$.script"}
    inner["ResultSelector"] = {"status.$": "$.Status"}
    mapped = {"Type": "Map", "ItemsPath": "$.items", "Iterator": _only(inner), "End": True}
    ended = machines.run(_only(mapped), {"items": [{"script": "true"}] * 3})
    assert json.loads(ended["output"]) == [{"status": "SUCCEEDED"}] * 3
    failed = machines.run(_only(mapped), {"items": [{"script": "true"}, {"script": "exit 1"}]})
    assert (failed["status"], failed["error"]) == ("FAILED", "States.TaskFailed")


def test_rejected_job_fails_with_batch_error(machines):
    """A job that Batch rejects fails its task with Batch's error."""
    task = _task("true")
    task["Parameters"]["JobQueue"] = "none"
    ended = machines.run(_only(task))
    assert (ended["status"], ended["error"]) == ("FAILED", "Batch.ClientException")


def test_internal_error_of_moto_can_be_caught(machines):
    """A 500 response has no request id, and is an error that a Catch can handle."""
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:batch:listConsumableResources",  # which moto does not support
        "Parameters": {},
        "Catch": [{"ErrorEquals": ["States.TaskFailed"], "Next": "Caught"}],
        "End": True,
    }
    ended = machines.run(_only(task, Caught={"Type": "Pass", "End": True}))
    assert ended["status"] == "SUCCEEDED", ended
    assert "Request ID: unknown" in json.loads(ended["output"])["Cause"]


def test_failed_poll_of_a_job_is_retried():
    """An internal error of moto while it polls a job does not end the task; a client error does."""

    def failing(status):
        response = {"Error": {"Code": str(status)}, "ResponseMetadata": {"HTTPStatusCode": status}}

        def poll():
            raise ClientError(response, "DescribeJobs")

        return _JobResolver(is_running=lambda: False, poll=poll, terminate=lambda: None)

    assert failing(500)() is None
    with pytest.raises(ClientError):
        failing(400)()
