"""Replaces moto's Batch jobs, which need Docker, with processes, and validates requests as AWS does.

Without Docker moto 5.2.5 only pretends to run jobs (https://github.com/getmoto/moto/issues/8287).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from moto.batch import models
from moto.batch.exceptions import ClientException
from moto.batch.responses import BatchResponse

from ratesflow.local.aws.batch.job_records import reap_orphans
from ratesflow.local.aws.batch.job_slots import Slots
from ratesflow.local.aws.batch.job_spec import check_array, parse_retry_strategy
from ratesflow.local.aws.batch.process_job import ProcessJob, submitted_retry
from ratesflow.local.aws.settings import Settings

__all__ = ["install", "reap_orphans"]


def install(settings: Settings) -> Slots:
    """Patch moto's Batch in this process. The caller closes the returned slots at the end."""
    ProcessJob.slots = Slots(settings)
    models.Job = ProcessJob  # BatchBackend.submit_job looks the name up at call time
    models.BatchBackend.cancel_job = _cancel_job
    _allow_submission_during_iteration()
    BatchResponse.submitjob = _checked_submission(BatchResponse.submitjob)
    BatchResponse.registerjobdefinition = _checked_definition(BatchResponse.registerjobdefinition)
    return ProcessJob.slots


class _Jobs(dict[str, Any]):
    """Jobs by id; iteration uses a snapshot."""

    def items(self) -> Any:
        """Return a snapshot of the ids and jobs."""
        return list(super().items())

    def values(self) -> Any:
        """Return a snapshot of the jobs."""
        return list(super().values())


def _allow_submission_during_iteration() -> None:
    """Patch iteration over moto's dictionary of jobs, which fails when another thread adds a job."""
    original = models.BatchBackend.__init__

    def initialize(self: Any, region_name: str, account_id: str) -> None:
        original(self, region_name, account_id)
        self._jobs = _Jobs()

    models.BatchBackend.__init__ = initialize


def _checked_submission(submit: Callable[[Any], str]) -> Callable[[Any], str]:
    @wraps(submit)
    def submitjob(response: Any) -> str:
        raw_retry = response._get_param("retryStrategy")
        try:
            check_array(response._get_param("arrayProperties"))
            retry = parse_retry_strategy(raw_retry) if raw_retry else None
        except ValueError as error:
            raise ClientException(str(error)) from error
        if any(entry.get("type") for entry in response._get_param("dependsOn") or []):
            raise ClientException("The embedded AWS does not support dependsOn with a type (SEQUENTIAL, N_TO_N)")
        token = submitted_retry.set(retry)
        try:
            return submit(response)
        finally:
            submitted_retry.reset(token)

    return submitjob


def _checked_definition(register: Callable[[Any], str]) -> Callable[[Any], str]:
    @wraps(register)
    def registerjobdefinition(response: Any) -> str:
        try:
            parse_retry_strategy(response._get_param("retryStrategy"))
        except ValueError as error:
            raise ClientException(str(error)) from error
        return register(response)

    return registerjobdefinition


def _cancel_job(backend: Any, job_id: str, reason: str) -> None:
    """Implement CancelJob; moto would also terminate the running children of an array."""
    for name, value in (("jobId", job_id), ("reason", reason)):
        if not value:
            raise ClientException(f"'{name}' is a required field (cannot be an empty string)")
    job = backend.get_job_by_id(job_id)
    if job is not None:
        job.cancel(reason)
