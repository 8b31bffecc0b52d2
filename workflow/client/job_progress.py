"""The progress of a running job: its earlier attempts, and the progress lines of its log."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.job_logs import describe_attempt, describe_job

LINES = 8  # the last lines of a log, which are searched for a progress line
_WAITS = dict.fromkeys(("SUBMITTED", "PENDING", "RUNNABLE"), "queued") | {"STARTING": "starting"}
CHILDREN = 10  # of an array, whose logs are read at one poll: calls to AWS are counted


@dataclass(frozen=True)
class JobProgress:
    """The progress of a job.

    The `rows` so far and the `fraction` that is done, from 0 to 1, are None without a progress line in its log;
    `failed` has a line for each failed attempt, those of an array's children included.
    """

    status: str
    rows: int | None = None
    fraction: float | None = None
    failed: tuple[str, ...] = ()

    @property
    def waits(self) -> str:
        """Return what the job waits for; an empty text once it runs."""
        return _WAITS.get(self.status, "")


class JobPoller:
    """Polls one job; of an array it keeps the last progress of each child."""

    def __init__(self, environment: Environment, job_id: str) -> None:
        self._environment, self._job_id = environment, job_id
        self._progress: dict[str, tuple[int, float]] = {}
        self._ended: set[str] = set()
        self._polls: dict[str, int] = {}
        self._failed: dict[str, tuple[str, ...]] = {}

    def poll(self) -> JobProgress | None:
        """Return the progress of the job; None when it has expired in Batch, or the caller may not read it."""
        from botocore.exceptions import ClientError

        try:
            job = describe_job(self._environment, self._job_id)
            return None if job is None else self._poll_job(job)
        except ClientError:  # not allowed, or throttled: the caller keeps watching
            return None

    def _poll_job(self, job: Mapping[str, Any]) -> JobProgress:
        size = (job.get("arrayProperties") or {}).get("size")
        if size:
            return self._poll_array(str(job["status"]), size)
        rows, fraction = self._last_progress(job) or (None, None)
        return JobProgress(str(job["status"]), rows, fraction, failed_attempts(job))

    def _poll_array(self, status: str, size: int) -> JobProgress:
        running, done = self._children("RUNNING"), self._children("SUCCEEDED")
        new = [child for child in done if child not in self._ended]
        wanted = new + sorted(running, key=lambda child: self._polls.get(child, 0))
        for child in self._describe(wanted[:CHILDREN]):
            self._poll_child(child)
        # A child may have ended between the two calls.
        unfinished = sum(self._progress[child][1] for child in {*running} - {*done} if child in self._progress)
        rows = sum(rows for rows, _ in self._progress.values()) if self._progress else None
        failed = tuple(line for lines in self._failed.values() for line in lines)
        return JobProgress(status, rows, (len(done) + unfinished) / size, failed)

    def _poll_child(self, child: Mapping[str, Any]) -> None:
        name = str(child["jobId"])
        self._polls[name] = self._polls.get(name, 0) + 1
        if progress := self._last_progress(child):
            self._progress[name] = progress
        shard = f"shard {(child.get('arrayProperties') or {}).get('index', '?')}: "
        self._failed[name] = tuple(shard + line for line in failed_attempts(child))
        if child["status"] == "SUCCEEDED":
            self._ended.add(name)

    def _children(self, status: str) -> list[str]:
        pages = self._environment.client("batch").get_paginator("list_jobs")
        found = pages.paginate(arrayJobId=self._job_id, jobStatus=status)
        return [job["jobId"] for page in found for job in page["jobSummaryList"]]

    def _describe(self, children: list[str]) -> Iterable[Mapping[str, Any]]:
        if not children:
            return []
        found: list[Mapping[str, Any]] = self._environment.client("batch").describe_jobs(jobs=children)["jobs"]
        return found

    def _last_progress(self, job: Mapping[str, Any]) -> tuple[int, float] | None:
        """Return the rows and the fraction in the last progress line of the current or last attempt."""
        stream = (job.get("container") or {}).get("logStreamName")
        if not stream:
            return None
        logs = self._environment.client("logs")
        group = self._environment["RATESFLOW_LOG_GROUP"]
        try:
            page = logs.get_log_events(logGroupName=group, logStreamName=stream, limit=LINES, startFromHead=False)
        except logs.exceptions.ResourceNotFoundException:
            return None
        found = (read_progress(event["message"]) for event in reversed(page["events"]))
        return next((one for one in found if one), None)


def read_progress(line: str) -> tuple[int, float] | None:
    """Return the rows and the fraction in a task's progress line; None for any other line."""
    try:
        entry = json.loads(line)
        if entry["message"] == "progress":
            return int(entry["rows"]), float(entry["share"])
    except (ValueError, KeyError, TypeError):
        pass
    return None


def failed_attempts(job: Mapping[str, Any]) -> tuple[str, ...]:
    """Return how each attempt of a job ended that was or will be followed by another."""
    attempts = list(job.get("attempts") or [])
    if job["status"] in ("SUCCEEDED", "FAILED"):
        attempts = attempts[:-1]
    return tuple(
        f"attempt {number} failed: {describe_attempt(attempt)}; retrying"
        for number, attempt in enumerate(attempts, start=1)
    )
