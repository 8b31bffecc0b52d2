"""Runs one task as an AWS Batch job and reads its result.

Everything that touches the database runs as a task, since on AWS the database is in private subnets: the command
line submits `PREFIX-TASK`, waits, and reads `results/RUN/TASK.json` from the bucket. A long result is in a separate
object, `results/RUN/TASK.data.json`, whose key is the document's `data`.
"""

import json
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.errors import StillRunningError, TaskFailedError
from ratesflow.workflow.client.job_logs import describe_exit, describe_job, last_lines, log_stream
from ratesflow.workflow.job_definitions import TASKS, job_name

RESULTS = "results"


def run_task(
    environment: Environment,
    task: str,
    arguments: Mapping[str, str] | None = None,
    *,
    progress: Callable[[str], None] | None = None,
    seconds: float | None = None,
) -> dict[str, Any]:
    """Run a maintenance task and return its result document, with its `data` read in place of the key.

    `progress` gets each new status of the job (SUBMITTED, RUNNABLE, RUNNING, …). Raises TaskFailedError when the
    job fails or writes no document, StillRunningError when it has not ended after this many seconds (by default the
    limit of its job definition, and five minutes for the queue).
    """
    run_id = f"{task}-{uuid.uuid4()}"
    job_id = submit_task(environment, task, run_id, arguments or {})
    allowed = TASKS[task].run_seconds + 300.0 if seconds is None else seconds
    job = _wait(environment, job_id, progress, allowed)
    if job["status"] == "FAILED":
        stream = log_stream(job)
        tail = last_lines(environment, stream) if stream else []
        raise TaskFailedError("\n  ".join([f"The task {task} failed: {describe_exit(job)}.", *tail]))
    return read_result(environment, task, run_id)


def submit_task(environment: Environment, task: str, run_id: str, arguments: Mapping[str, str]) -> str:
    """Submit a maintenance task and return its job's id. Raises ValueError for arguments it does not take."""
    given, required, defaults = {"run_id": run_id, **arguments}, TASKS[task].required, TASKS[task].defaults
    unknown = sorted(set(given) - {*required, *defaults})
    missing = sorted(name for name in required if not given.get(name))
    if unknown or missing:
        raise ValueError(
            f"The task {task} takes {sorted({*required, *defaults})}; unknown: {unknown}; missing: {missing}."
        )
    submitted = environment.client("batch").submit_job(
        jobName=run_id,
        jobQueue=environment["RATESFLOW_JOB_QUEUE"],
        jobDefinition=job_name(environment["RATESFLOW_JOB_PREFIX"], task),
        parameters=given,
    )
    return str(submitted["jobId"])


def read_result(environment: Environment, task: str, run_id: str) -> dict[str, Any]:
    """Return the result document of a run, with its `data` read. Raises TaskFailedError when there is none."""
    s3 = environment.client("s3")
    key = f"{RESULTS}/{run_id}/{task}.json"
    try:
        document: dict[str, Any] = json.loads(s3.get_object(Bucket=environment.bucket, Key=key)["Body"].read())
    except s3.exceptions.NoSuchKey as error:
        raise TaskFailedError(
            f"The task {task} succeeded but wrote no result to s3://{environment.bucket}/{key}: "
            "the version of the loader's image does not match this command line."
        ) from error
    if isinstance(document.get("data"), str):
        body = s3.get_object(Bucket=environment.bucket, Key=document["data"])["Body"]
        document["data"] = json.loads(body.read())
    return document


def _wait(
    environment: Environment, job_id: str, progress: Callable[[str], None] | None, seconds: float
) -> Mapping[str, Any]:
    pause = 0.1 if environment.is_local else 2.0
    deadline, seen = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        job = describe_job(environment, job_id)
        if job is not None:
            if progress and job["status"] != seen:
                progress(job["status"])
            seen = job["status"]
            if seen in ("SUCCEEDED", "FAILED"):
                return job
        time.sleep(pause)
    raise StillRunningError(
        f"The job {job_id} has not ended after {seconds:.0f} s (it is {seen}); it continues. "
        f"Check it with: aws batch describe-jobs --jobs {job_id}"
    )
