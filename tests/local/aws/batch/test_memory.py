"""The memory of jobs is measured and limited."""

from typing import Any

ALLOCATE = "import time; held = bytearray({mib} * 2**20); time.sleep({seconds})"


def _allocate(mib: int, seconds: float) -> list[str]:
    return ["python", "-c", ALLOCATE.format(mib=mib, seconds=seconds)]


def _memory(mib: int) -> list[dict[str, Any]]:
    return [{"type": "MEMORY", "value": str(mib)}]


def test_job_above_its_memory_limit_is_killed(jobs):
    """A job that exceeds its MEMORY is killed with exit code 137 and a reason."""
    overrides = {"command": _allocate(200, 20), "resourceRequirements": _memory(100)}
    job = jobs.run(containerOverrides=overrides)
    assert (job["status"], job["container"]["exitCode"]) == ("FAILED", 137)
    assert job["container"]["reason"] == "OutOfMemoryError: Container killed due to memory usage"
    assert job["attempts"][0]["container"]["reason"] == job["container"]["reason"]
    assert job["statusReason"] == "Essential container in task exited"


def test_memory_includes_child_processes(jobs):
    """The memory of a job is the sum of all its processes."""
    script = f'python -c "{ALLOCATE.format(mib=80, seconds=20)}" & python -c "{ALLOCATE.format(mib=80, seconds=20)}"'
    job = jobs.run(script, containerOverrides={"resourceRequirements": _memory(128)})
    assert job["container"]["exitCode"] == 137


def test_record_of_an_attempt(stack, jobs):
    """The record of an attempt has its process, times, exit code, command and peak memory."""
    job = jobs.run(containerOverrides={"command": _allocate(100, 0.5)})
    record = stack.record(job["jobId"])
    assert 100 < record["peak_mb"] < 200
    assert (record["exit_code"], record["attempt"], record["command"][0]) == (0, 1, "python")
    assert record["ended_at"] - record["started_at"] > 0.5
    assert record["pid"] > 0
