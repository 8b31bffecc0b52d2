"""Batch retries: how many attempts, after which ends, and which strategies are refused."""

import pytest
from botocore.exceptions import ClientError

FAIL_ONCE = 'echo "attempt $AWS_BATCH_JOB_ATTEMPT"; test "$AWS_BATCH_JOB_ATTEMPT" -ge 2'


def test_attempts_are_counted_from_one(jobs):
    """A failed job is tried again, knows which attempt it is, and keeps a log stream for each."""
    job = jobs.run(FAIL_ONCE, retryStrategy={"attempts": 3})
    assert job["status"] == "SUCCEEDED"
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [1, 0]
    assert jobs.log(job) == ["attempt 2"]
    assert len({attempt["container"]["logStreamName"] for attempt in job["attempts"]}) == 2


def test_strategy_of_the_definition_counts_too(stack, jobs):
    """A job without a strategy of its own is tried as often as its definition says."""
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
    """The first rule whose conditions all match decides; when none does, the job is tried again."""
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
def test_bad_strategies_are_refused(jobs, strategy):
    """More than 10 attempts, more than 5 rules, a glob that is not at the end, an unknown action: refused."""
    with pytest.raises(ClientError) as refused:
        jobs.submit(retryStrategy=strategy)
    assert refused.value.response["Error"]["Code"] == "ClientException"
