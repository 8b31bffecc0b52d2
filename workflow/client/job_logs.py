"""What a Batch job has to say for itself: how it ended, and the last lines of its log."""

import json
from collections.abc import Mapping
from typing import Any

from ratesflow.workflow.client.environment import Environment

PROGRESS_LINES = 100  # that may stand between the lines that say something


def describe_job(environment: Environment, job_id: str) -> Mapping[str, Any] | None:
    """Return Batch's description of a job, or None when it has forgotten it (after some days on AWS)."""
    jobs = environment.client("batch").describe_jobs(jobs=[job_id])["jobs"]
    return jobs[0] if jobs else None


def failed_job(environment: Environment, job_id: str) -> Mapping[str, Any] | None:
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


def describe_exit(job: Mapping[str, Any]) -> str:
    """Return how a job ended: its reason, its exit code, its attempts."""
    attempts = len(job.get("attempts") or [])
    return how_it_ended(job) + (f", after {attempts} attempts" if attempts > 1 else "")


def how_it_ended(ended: Mapping[str, Any]) -> str:
    """Return how a job, or one attempt of it, ended: its reason and its exit code."""
    container = ended.get("container") or {}
    told = [str(ended.get("statusReason") or ended.get("status") or "it ended")]
    if container.get("reason"):
        told.append(str(container["reason"]))
    if container.get("exitCode") is not None:
        told.append(f"exit code {container['exitCode']}")
    return ", ".join(told)


def last_lines(environment: Environment, stream: str, lines: int = 10) -> list[str]:
    """Return the last lines of a log stream as a person reads them; none when there is no such stream yet."""
    logs = environment.client("logs")
    try:
        page = logs.get_log_events(
            logGroupName=environment["RATESFLOW_LOG_GROUP"],
            logStreamName=stream,
            limit=lines + PROGRESS_LINES,
            startFromHead=False,
        )
    except logs.exceptions.ResourceNotFoundException:
        return []
    told: list[str] = []
    for event in page["events"]:
        if told and _tells(told[-1]) and _tells(event["message"]):
            told.pop()  # how far it came, but not every step on the way there
        told.append(event["message"])
    return [line_in_words(line) for line in told][-lines:]


def line_in_words(line: str) -> str:
    """Return a JSON line of a task as `LEVEL message`, with its rows if it has any; anything else as it is."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line.rstrip("\n")
    if not isinstance(entry, dict) or "message" not in entry:
        return line.rstrip("\n")
    text = f"{str(entry.get('level', 'info')).upper()} {entry['message']}"
    return f"{text}: {entry['rows']:,} rows" if isinstance(entry.get("rows"), int) else text


def _tells(line: str) -> bool:
    return '"message": "progress"' in line
