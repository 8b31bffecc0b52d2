"""The time from upload to visibility by step, with the wait for a container and the work apart."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from tests.rehearsal.stage import Stage, document

MILLISECONDS = 1000.0


def describe(stage: Stage, batch_id: str) -> list[dict[str, Any]]:
    """Return each step of an execution with its seconds: total, until its container ran, and work."""
    shown = document(stage.ratesflow("show", batch_id, "--json").out)
    rows = []
    for step in shown["steps"]:
        row: dict[str, Any] = {"step": step["name"], "seconds": step["seconds"]}
        if step["job_id"]:
            row |= _job_times(stage, step["job_id"])
        rows.append(row)
    return _merge_other_steps(rows)


def _job_times(stage: Stage, job_id: str) -> dict[str, Any]:
    jobs = stage.client("batch").describe_jobs(jobs=[job_id])["jobs"]
    if not jobs:
        return {}
    return job_times(jobs[0], _children(stage, jobs[0]))


def job_times(job: Mapping[str, Any], children: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return the seconds of a job until its first container started, and from then until its last one ended.

    For an array job the children count, since the parent has no container.
    """
    began = list(children) or [job]
    started = [each["startedAt"] for each in began if each.get("startedAt")]
    stopped = [each["stoppedAt"] for each in began if each.get("stoppedAt")]
    if not started or not stopped:
        return {}
    return {
        "container": round((min(started) - job["createdAt"]) / MILLISECONDS, 2),
        "work": round((max(stopped) - min(started)) / MILLISECONDS, 2),
    }


def _children(stage: Stage, job: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "size" not in (job.get("arrayProperties") or {}):
        return []
    pages = stage.client("batch").get_paginator("list_jobs").paginate(arrayJobId=job["jobId"], jobStatus="SUCCEEDED")
    return [each for page in pages for each in page["jobSummaryList"]]


def _merge_other_steps(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the steps that ran a job, and one row for all others."""
    jobs = [row for row in rows if "container" in row]
    others = sum(row["seconds"] or 0 for row in rows if "container" not in row)
    return [*jobs, {"step": "all other states", "seconds": round(others, 2)}]


def record(
    stage: Stage, name: str, result: Mapping[str, Any], visible: float | None, table: list[dict[str, Any]]
) -> None:
    """Record the times of a batch for the report. `visible` is measured from before the upload on this machine."""
    shown = {
        "rows": result["rows"],
        "upload to visible": visible,
        "upload to outcome": result["seconds"],
        "steps": table,
    }
    stage.progress.values.setdefault("times", {})[name] = shown
    stage.progress.values.setdefault("measured", datetime.now().astimezone().isoformat(timespec="seconds"))
    stage.progress.save()
