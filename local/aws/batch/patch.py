"""Replaces moto's Batch jobs, which need Docker, by processes, and validates requests as AWS does.

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
    """Mends moto's Batch in this process; the slots returned are to be closed at its end."""
    ProcessJob.slots = Slots(settings)
    models.Job = ProcessJob  # BatchBackend.submit_job looks the name up at call time
    models.BatchBackend.cancel_job = _cancel_job
    _let_jobs_come_while_others_are_described()
    BatchResponse.submitjob = _checked_submission(BatchResponse.submitjob)
    BatchResponse.registerjobdefinition = _checked_definition(BatchResponse.registerjobdefinition)
    return ProcessJob.slots


class _Jobs(dict[str, Any]):
    """Jobs by their ids; whoever walks over them walks over those that there are at that moment."""

    def items(self) -> Any:
        """Return them all with their ids."""
        return list(super().items())

    def values(self) -> Any:
        """Return them all."""
        return list(super().values())


def _let_jobs_come_while_others_are_described() -> None:
    """moto walks over its dictionary of jobs, and fails when another thread adds one meanwhile."""
    begin = models.BatchBackend.__init__

    def begin_with_jobs(self: Any, region_name: str, account_id: str) -> None:
        begin(self, region_name, account_id)
        self._jobs = _Jobs()

    models.BatchBackend.__init__ = begin_with_jobs


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
            raise ClientException("The embedded AWS knows no dependsOn with a type (SEQUENTIAL, N_TO_N)")
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
    """CancelJob; moto would terminate the running children of an array as well."""
    for name, value in (("jobId", job_id), ("reason", reason)):
        if not value:
            raise ClientException(f"'{name}' is a required field (cannot be an empty string)")
    job = backend.get_job_by_id(job_id)
    if job is not None:
        job.cancel(reason)
