"""Batch array jobs: children, their parent's state, and sizes."""

import pytest
from botocore.exceptions import ClientError


def test_children_know_their_place(stack, jobs):
    """Each child gets its index, and the parent has succeeded when all have, with a count by state."""
    parent = jobs.run("echo child $AWS_BATCH_JOB_ARRAY_INDEX", arrayProperties={"size": 3})
    assert parent["status"] == "SUCCEEDED"
    assert parent["arrayProperties"]["size"] == 3
    assert parent["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 3
    children = [jobs.describe(f"{parent['jobId']}:{index}") for index in range(3)]
    assert [child["arrayProperties"]["index"] for child in children] == [0, 1, 2]
    assert [jobs.log(child) for child in children] == [["child 0"], ["child 1"], ["child 2"]]
    assert stack.record(f"{parent['jobId']}:1")["exit_code"] == 0


def test_parent_fails_with_a_child(stack, jobs):
    """One failed child makes the parent fail, once all children have ended."""
    parent = jobs.run('test "$AWS_BATCH_JOB_ARRAY_INDEX" != 1', arrayProperties={"size": 3})
    assert (parent["status"], parent["statusReason"]) == ("FAILED", "Array Child Job failed")
    summary = parent["arrayProperties"]["statusSummary"]
    assert (summary["FAILED"], summary["SUCCEEDED"]) == (1, 2)
    listed = stack.client("batch").list_jobs(arrayJobId=parent["jobId"], jobStatus="FAILED")["jobSummaryList"]
    assert [job["jobId"] for job in listed] == [f"{parent['jobId']}:1"]


def test_queue_lists_the_parent_alone(stack, jobs):
    """Listing a queue shows arrays and not their children."""
    parent = jobs.run("true", arrayProperties={"size": 2})
    listed = stack.client("batch").list_jobs(jobQueue="queue", jobStatus="SUCCEEDED")["jobSummaryList"]
    ids = [job["jobId"] for job in listed]
    assert parent["jobId"] in ids
    assert f"{parent['jobId']}:0" not in ids


def test_terminating_the_parent_ends_the_children(stack, jobs):
    """Children that run and children that wait end with their parent."""
    parent_id = jobs.submit("sleep 30", arrayProperties={"size": 5})
    jobs.until(f"{parent_id}:0", "RUNNING")
    assert jobs.describe(parent_id)["status"] == "PENDING"
    stack.client("batch").terminate_job(jobId=parent_id, reason="enough")
    parent = jobs.end(parent_id)
    assert (parent["status"], parent["statusReason"]) == ("FAILED", "enough")
    assert parent["arrayProperties"]["statusSummary"]["FAILED"] == 5


@pytest.mark.parametrize("size", [0, 1, 10_001])
def test_sizes_out_of_bounds_are_refused(jobs, size):
    """An array has 2 to 10,000 children."""
    with pytest.raises(ClientError, match=r"between 2 and 10,000"):
        jobs.submit(arrayProperties={"size": size})
