"""How far a job has come that still runs: its earlier attempts, and the progress lines of its log."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.job_logs import describe_job, how_it_ended

LINES = 8  # the latest of a log in which a progress line is looked for
_WAITS = dict.fromkeys(("SUBMITTED", "PENDING", "RUNNABLE"), "waits in the job queue") | {"STARTING": "starts"}
CHILDREN = 10  # of an array, whose logs are read at one look: calls to AWS count


@dataclass(frozen=True)
class Underway:
    """What is known of a job at a moment.

    `rows` so far and the `share` of the work, from 0 to 1, are None when its log says nothing of them; `failed` has
    a line for each attempt that ended badly, of the children of an array too.
    """

    status: str
    rows: int | None = None
    share: float | None = None
    failed: tuple[str, ...] = ()

    @property
    def waits(self) -> str:
        """Return what the job waits for before it runs, in words; nothing once it runs."""
        return _WAITS.get(self.status, "")


class JobPoller:
    """One job that is looked at again and again; of an array it remembers what each child has said."""

    def __init__(self, environment: Environment, job_id: str) -> None:
        self._environment, self._job_id = environment, job_id
        self._told: dict[str, tuple[int, float]] = {}
        self._ended: set[str] = set()
        self._looked: dict[str, int] = {}
        self._failed: dict[str, tuple[str, ...]] = {}

    def look(self) -> Underway | None:
        """Return how far the job is now; None when Batch knows it no more, or the caller may not ask."""
        from botocore.exceptions import ClientError

        try:
            job = describe_job(self._environment, self._job_id)
            return None if job is None else self._look_at(job)
        except ClientError:  # not allowed, or too often: that is no reason to end the watching
            return None

    def _look_at(self, job: Mapping[str, Any]) -> Underway:
        size = (job.get("arrayProperties") or {}).get("size")
        if size:
            return self._look_at_array(str(job["status"]), size)
        rows, share = self._said(job) or (None, None)
        return Underway(str(job["status"]), rows, share, failed_attempts(job))

    def _look_at_array(self, status: str, size: int) -> Underway:
        running, done = self._children("RUNNING"), self._children("SUCCEEDED")
        new = [child for child in done if child not in self._ended]
        wanted = new + sorted(running, key=lambda child: self._looked.get(child, 0))
        for child in self._described(wanted[:CHILDREN]):
            self._look_at_child(child)
        # A child may have ended between the two questions.
        under_way = sum(self._told[child][1] for child in {*running} - {*done} if child in self._told)
        rows = sum(rows for rows, _ in self._told.values()) if self._told else None
        failed = tuple(line for lines in self._failed.values() for line in lines)
        return Underway(status, rows, (len(done) + under_way) / size, failed)

    def _look_at_child(self, child: Mapping[str, Any]) -> None:
        name = str(child["jobId"])
        self._looked[name] = self._looked.get(name, 0) + 1
        if said := self._said(child):
            self._told[name] = said
        shard = f"shard {(child.get('arrayProperties') or {}).get('index', '?')}: "
        self._failed[name] = tuple(shard + line for line in failed_attempts(child))
        if child["status"] == "SUCCEEDED":
            self._ended.add(name)

    def _children(self, status: str) -> list[str]:
        pages = self._environment.client("batch").get_paginator("list_jobs")
        found = pages.paginate(arrayJobId=self._job_id, jobStatus=status)
        return [job["jobId"] for page in found for job in page["jobSummaryList"]]

    def _described(self, children: list[str]) -> Iterable[Mapping[str, Any]]:
        if not children:
            return []
        found: list[Mapping[str, Any]] = self._environment.client("batch").describe_jobs(jobs=children)["jobs"]
        return found

    def _said(self, job: Mapping[str, Any]) -> tuple[int, float] | None:
        """Return the rows and the share of the last progress line of the attempt that runs, or ran last."""
        stream = (job.get("container") or {}).get("logStreamName")
        if not stream:
            return None
        logs = self._environment.client("logs")
        group = self._environment["RATESFLOW_LOG_GROUP"]
        try:
            page = logs.get_log_events(logGroupName=group, logStreamName=stream, limit=LINES, startFromHead=False)
        except logs.exceptions.ResourceNotFoundException:
            return None
        told = (read_progress(event["message"]) for event in reversed(page["events"]))
        return next((one for one in told if one), None)


def read_progress(line: str) -> tuple[int, float] | None:
    """Return the rows and the share in a task's progress line; None for any other line."""
    try:
        entry = json.loads(line)
        if entry["message"] == "progress":
            return int(entry["rows"]), float(entry["share"])
    except (ValueError, KeyError, TypeError):
        pass
    return None


def failed_attempts(job: Mapping[str, Any]) -> tuple[str, ...]:
    """Return how each attempt of a job ended that was followed by another, or will be."""
    attempts = list(job.get("attempts") or [])
    if job["status"] in ("SUCCEEDED", "FAILED"):
        attempts = attempts[:-1]
    return tuple(
        f"attempt {number} ended: {how_it_ended(attempt)}; it is tried again"
        for number, attempt in enumerate(attempts, start=1)
    )
