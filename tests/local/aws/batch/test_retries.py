"""Batch retries: the number of attempts, the conditions, and invalid strategies."""

import pytest
from botocore.exceptions import ClientError

FAIL_ONCE = 'echo "attempt $AWS_BATCH_JOB_ATTEMPT"; test "$AWS_BATCH_JOB_ATTEMPT" -ge 2'


def test_attempts_are_counted_from_one(jobs):
    """A failed job is retried, has the number of its attempt, and has a log stream for each attempt."""
    job = jobs.run(FAIL_ONCE, retryStrategy={"attempts": 3})
    assert job["status"] == "SUCCEEDED"
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [1, 0]
    assert jobs.log(job) == ["attempt 2"]
    assert len({attempt["container"]["logStreamName"] for attempt in job["attempts"]}) == 2


def test_definition_has_the_default_retry_strategy(stack, jobs):
    """A job without a retry strategy uses that of its definition."""
    stack.client("batch").register_job_definition(
        jobDefinitionName="twice",
        type="container",
        retryStrategy={"attempts": 2},
        containerProperties={
            "image": "none",
            "command": ["false"],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
        },
    )
    job_id = stack.client("batch").submit_job(jobName="test", jobQueue="queue", jobDefinition="twice")["jobId"]
    assert len(jobs.end(job_id)["attempts"]) == 2


@pytest.mark.parametrize(
    ("rules", "attempts"),
    [
        ([{"onExitCode": "75", "action": "RETRY"}, {"onExitCode": "*", "action": "EXIT"}], 2),
        ([{"onExitCode": "7*", "action": "exit"}], 1),
        ([{"onExitCode": "64", "action": "EXIT"}], 2),
        ([{"onStatusReason": "Essential*", "onExitCode": "75", "action": "EXIT"}], 1),
        ([{"onStatusReason": "Host EC2*", "action": "EXIT"}], 2),
        ([{"onReason": "OutOfMemoryError*", "action": "EXIT"}], 2),
    ],
)
def test_evaluate_on_exit(jobs, rules, attempts):
    """The first rule whose conditions all match decides; without a match the job is retried."""
    job = jobs.run("exit 75", retryStrategy={"attempts": 2, "evaluateOnExit": rules})
    assert len(job["attempts"]) == attempts


@pytest.mark.parametrize(
    "strategy",
    [
        {"attempts": 11},
        {"attempts": 2, "evaluateOnExit": [{"onExitCode": "1", "action": "EXIT"}] * 6},
        {"attempts": 2, "evaluateOnExit": [{"onReason": "*Memory*", "action": "EXIT"}]},
        {"attempts": 2, "evaluateOnExit": [{"onExitCode": "1", "action": "STAY"}]},
    ],
)
def test_invalid_retry_strategies_are_rejected(jobs, strategy):
    """More than 10 attempts, more than 5 rules, a glob before the end and an unknown action are rejected."""
    with pytest.raises(ClientError) as rejected:
        jobs.submit(retryStrategy=strategy)
    assert rejected.value.response["Error"]["Code"] == "ClientException"
