"""Runs the scheduled tasks: gc, and compaction when enough batches are uncompacted."""

import time
import uuid
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ratesflow.local.deploy import clients

EVERY_SECONDS = 300
# The schedules of terraform/schedules.tf with their parameters; a compaction is due at 16 uncompacted batches.
TASKS: dict[str, dict[str, str]] = {"gc": {}, "compact": {"min_batches": "16"}}


class Schedule:
    """Submits the tasks every five minutes, first after five minutes."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._batch: Any = clients(environment["AWS_ENDPOINT_URL"], "scheduler")("batch")
        self._due = time.monotonic() + EVERY_SECONDS

    def make_due(self) -> None:
        """Make the tasks due at the next tick."""
        self._due = time.monotonic()

    def tick(self) -> None:
        """Submit the tasks if they are due. A failed submission is retried at the next due time."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + EVERY_SECONDS
        for task, parameters in TASKS.items():
            run_id = f"{task}-{uuid.uuid4()}"
            try:
                self._batch.submit_job(
                    jobName=run_id,
                    jobQueue=self._environment["RATESFLOW_JOB_QUEUE"],
                    jobDefinition=f"{self._environment['RATESFLOW_JOB_PREFIX']}-{task}",
                    parameters={"run_id": run_id, **parameters},
                )
            except (BotoCoreError, ClientError):
                continue
