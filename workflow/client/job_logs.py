"""How a Batch job ended, and the last lines of its log."""

import json
from collections.abc import Mapping
from typing import Any

from ratesflow.workflow.client.environment import Environment

PROGRESS_LINES = 100  # read in addition, since most of them are dropped


def describe_job(environment: Environment, job_id: str) -> Mapping[str, Any] | None:
    """Return Batch's description of a job, or None when it has expired (after some days on AWS)."""
    jobs = environment.client("batch").describe_jobs(jobs=[job_id])["jobs"]
    return jobs[0] if jobs else None


def failed_job(environment: Environment, job_id: str) -> Mapping[str, Any] | None:
    """Return the job whose log explains a failure: the job itself, or the first failed child of an array."""
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
    """Return the log stream of a job's last attempt; None when its container never ran."""
    stream = (job.get("container") or {}).get("logStreamName")
    for attempt in job.get("attempts") or []:
        stream = (attempt.get("container") or {}).get("logStreamName") or stream
    return stream


def describe_exit(job: Mapping[str, Any]) -> str:
    """Return how a job ended: its reason, its exit code, its attempts.

    The description is Batch's, in camelCase as from `describe_jobs` or in PascalCase as in the cause of a state.
    """
    attempts = len(_field(job, "attempts") or [])
    return describe_attempt(job) + (f", after {attempts} attempts" if attempts > 1 else "")


def describe_attempt(ended: Mapping[str, Any]) -> str:
    """Return how a job, or one attempt of it, ended: its reason and its exit code."""
    container = _field(ended, "container") or {}
    parts = [str(_field(ended, "statusReason") or _field(ended, "status") or "it ended")]
    if reason := _field(container, "reason"):
        parts.append(str(reason))
    if (code := _field(container, "exitCode")) is not None:
        parts.append(f"exit code {code}")
    return ", ".join(parts)


def _field(description: Mapping[str, Any], name: str) -> Any:
    return description.get(name, description.get(name[0].upper() + name[1:]))


def last_lines(environment: Environment, stream: str, lines: int = 10) -> list[str]:
    """Return the last lines of a log stream as readable text; none when there is no such stream yet."""
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
    kept: list[str] = []
    for event in page["events"]:
        if kept and _is_progress(kept[-1]) and _is_progress(event["message"]):
            kept.pop()  # of several progress lines in a row the last one is enough
        kept.append(event["message"])
    return [format_log_line(line) for line in kept][-lines:]


def format_log_line(line: str) -> str:
    """Return a JSON line of a task as `LEVEL message`, with its rows if it has any; any other line unchanged."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line.rstrip("\n")
    if not isinstance(entry, dict) or "message" not in entry:
        return line.rstrip("\n")
    text = f"{str(entry.get('level', 'info')).upper()} {entry['message']}"
    return f"{text}: {entry['rows']:,} rows" if isinstance(entry.get("rows"), int) else text


def _is_progress(line: str) -> bool:
    return '"message": "progress"' in line
