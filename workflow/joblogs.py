"""What a Batch job has to say for itself: how it ended, and the last lines of its log."""

import json
from collections.abc import Mapping
from typing import Any

from workflow.environment import Environment


def describe_job(environment: Environment, job_id: str) -> Mapping[str, Any] | None:
    """Return Batch's description of a job, or None when it has forgotten it (after some days on AWS)."""
    jobs = environment.client("batch").describe_jobs(jobs=[job_id])["jobs"]
    return jobs[0] if jobs else None


def telling_job(environment: Environment, job_id: str) -> Mapping[str, Any] | None:
    """Return the job whose log explains an end: the job itself, or the first failed child of an array."""
    job = describe_job(environment, job_id)
    if job is None or "size" not in (job.get("arrayProperties") or {}):
        return job
    batch = environment.client("batch")
    for status in ("FAILED", "RUNNING", "SUCCEEDED"):
        children = batch.list_jobs(arrayJobId=job_id, jobStatus=status)["jobSummaryList"]
        if children:
            return describe_job(environment, children[0]["jobId"]) or job
    return job


def log_stream(job: Mapping[str, Any]) -> str | None:
    """Return the log stream of a job's last attempt; there is none when its container never ran."""
    stream = (job.get("container") or {}).get("logStreamName")
    for attempt in job.get("attempts") or []:
        stream = (attempt.get("container") or {}).get("logStreamName") or stream
    return stream


def job_in_words(job: Mapping[str, Any]) -> str:
    """Return how a job ended: its reason, its exit code, its attempts."""
    container = job.get("container") or {}
    told = [str(job.get("statusReason") or job.get("status"))]
    if container.get("reason"):
        told.append(str(container["reason"]))
    if container.get("exitCode") is not None:
        told.append(f"exit code {container['exitCode']}")
    if len(job.get("attempts") or []) > 1:
        told.append(f"after {len(job['attempts'])} attempts")
    return ", ".join(told)


def last_lines(environment: Environment, stream: str, lines: int = 10) -> list[str]:
    """Return the last lines of a log stream as a person reads them; none when there is no such stream yet."""
    logs = environment.client("logs")
    try:
        page = logs.get_log_events(
            logGroupName=environment["RATESFLOW_LOG_GROUP"],
            logStreamName=stream,
            limit=lines,
            startFromHead=False,
        )
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [line_in_words(event["message"]) for event in page["events"]][-lines:]


def line_in_words(line: str) -> str:
    """Return a JSON line of a task as `LEVEL message`; anything else as it is."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line.rstrip("\n")
    if not isinstance(entry, dict) or "message" not in entry:
        return line.rstrip("\n")
    return f"{str(entry.get('level', 'info')).upper()} {entry['message']}"
