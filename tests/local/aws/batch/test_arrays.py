"""Batch array jobs: children, status of the parent, and sizes."""

import pytest
from botocore.exceptions import ClientError


def test_each_child_has_its_index(stack, jobs):
    """Each child gets its index; the parent succeeds when all children have, with a count by status."""
    parent = jobs.run("echo child $AWS_BATCH_JOB_ARRAY_INDEX", arrayProperties={"size": 3})
    assert parent["status"] == "SUCCEEDED"
    assert parent["arrayProperties"]["size"] == 3
    assert parent["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 3
    children = [jobs.describe(f"{parent['jobId']}:{index}") for index in range(3)]
    assert [child["arrayProperties"]["index"] for child in children] == [0, 1, 2]
    assert [jobs.log(child) for child in children] == [["child 0"], ["child 1"], ["child 2"]]
    assert stack.record(f"{parent['jobId']}:1")["exit_code"] == 0


def test_parent_fails_with_a_child(stack, jobs):
    """The parent fails if one child fails, after all children have ended."""
    parent = jobs.run('test "$AWS_BATCH_JOB_ARRAY_INDEX" != 1', arrayProperties={"size": 3})
    assert (parent["status"], parent["statusReason"]) == ("FAILED", "Array Child Job failed")
    summary = parent["arrayProperties"]["statusSummary"]
    assert (summary["FAILED"], summary["SUCCEEDED"]) == (1, 2)
    listed = stack.client("batch").list_jobs(arrayJobId=parent["jobId"], jobStatus="FAILED")["jobSummaryList"]
    assert [job["jobId"] for job in listed] == [f"{parent['jobId']}:1"]


def test_queue_lists_only_the_parent(stack, jobs):
    """Listing a queue returns array jobs without their children."""
    parent = jobs.run("true", arrayProperties={"size": 2})
    listed = stack.client("batch").list_jobs(jobQueue="queue", jobStatus="SUCCEEDED")["jobSummaryList"]
    ids = [job["jobId"] for job in listed]
    assert parent["jobId"] in ids
    assert f"{parent['jobId']}:0" not in ids


def test_terminating_the_parent_terminates_the_children(stack, jobs):
    """Terminating an array terminates its running and its waiting children."""
    parent_id = jobs.submit("sleep 30", arrayProperties={"size": 5})
    jobs.until(f"{parent_id}:0", "RUNNING")
    assert jobs.describe(parent_id)["status"] == "PENDING"
    stack.client("batch").terminate_job(jobId=parent_id, reason="enough")
    parent = jobs.end(parent_id)
    assert (parent["status"], parent["statusReason"]) == ("FAILED", "enough")
    assert parent["arrayProperties"]["statusSummary"]["FAILED"] == 5


@pytest.mark.parametrize("size", [0, 1, 10_001])
def test_array_sizes_out_of_range_are_rejected(jobs, size):
    """An array has 2 to 10,000 children."""
    with pytest.raises(ClientError, match=r"between 2 and 10,000"):
        jobs.submit(arrayProperties={"size": size})
