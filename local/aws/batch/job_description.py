"""A Batch job in the format of DescribeJobs and ListJobs. The job is one of moto's, which are untyped."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from ratesflow.local.aws.batch.job_spec import merged_environment, merged_requirements

_STATES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
_STARTED = ("RUNNING", "SUCCEEDED", "FAILED")


def summarise(job: Any) -> dict[str, Any]:
    """Return the job in the format of ListJobs."""
    summary: dict[str, Any] = {
        "jobId": job.job_id,
        "jobArn": job.arn,
        "jobName": job.job_name,
        "createdAt": _milliseconds(job.job_created_at),
        "status": job.status,
        "jobDefinition": job.job_definition.arn,
    }
    if job.job_stopped_reason is not None:
        summary["statusReason"] = job.job_stopped_reason
    if job.status in _STARTED and job.job_started_at.year > 1970:  # moto's value for "never"
        summary["startedAt"] = _milliseconds(job.job_started_at)
    if job.job_stopped:
        summary["stoppedAt"] = _milliseconds(job.job_stopped_at)
    if exit_status := _exit(job):
        summary["container"] = exit_status
    if array := _array(job):
        summary["arrayProperties"] = array
    return summary


def describe(job: Any) -> dict[str, Any]:
    """Return the job in the format of DescribeJobs."""
    description = summarise(job) | {
        "jobQueue": job.job_queue.arn,
        "dependsOn": job.depends_on or [],
        "parameters": job.parameters,
        "tags": job.backend.list_tags_for_resource(job.arn),
        "retryStrategy": job.retry.description(),
        "attempts": job.attempts,
        "container": _container(job),
        "platformCapabilities": job.job_definition.platform_capabilities or [],
    }
    if timeout := job.timeout or job.job_definition.timeout:
        description["timeout"] = timeout
    if children := job.children():
        count = Counter(child.status for child in children)
        description["arrayProperties"] |= {"statusSummary": {state: count[state] for state in _STATES}}
    return description


def describe_attempt(job: Any, stopped_at: datetime, status_reason: str) -> dict[str, Any]:
    """Return the entry of `attempts` for the attempt that has just ended."""
    container: dict[str, Any] = {"networkInterfaces": []}
    if job.log_stream_name:
        container["logStreamName"] = job.log_stream_name
    return {
        "container": container | _exit(job),
        "startedAt": _milliseconds(job.job_started_at),
        "stoppedAt": _milliseconds(stopped_at),
        "statusReason": status_reason,
    }


def _container(job: Any) -> dict[str, Any]:
    definition, overrides = job.job_definition.container_properties, job.container_overrides
    container = {
        "image": definition["image"],
        "command": overrides.get("command") or definition["command"],
        "environment": [
            {"name": name, "value": value} for name, value in merged_environment(definition, overrides).items()
        ],
        "resourceRequirements": [
            {"type": name, "value": value} for name, value in merged_requirements(definition, overrides).items()
        ],
        "volumes": definition["volumes"],
        "mountPoints": definition["mountPoints"],
        "ulimits": definition["ulimits"],
        "networkInterfaces": [],
    }
    for role in ("jobRoleArn", "executionRoleArn"):
        if role in definition:
            container[role] = definition[role]
    if job.log_stream_name:
        container["logStreamName"] = job.log_stream_name
    return container | _exit(job)


def _exit(job: Any) -> dict[str, Any]:
    exit_status: dict[str, Any] = {}
    if job.exit_code is not None:
        exit_status["exitCode"] = job.exit_code
    if job.exit_reason:
        exit_status["reason"] = job.exit_reason
    return exit_status


def _array(job: Any) -> dict[str, Any]:
    if job.index is not None:
        return {"index": job.index}
    size = job.array_properties.get("size")
    return {"size": size} if size else {}


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
