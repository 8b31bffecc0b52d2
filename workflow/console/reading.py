"""Reads what the pages show, with the functions of the client: executions, reports, logs, events."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.executions import (
    TERMINAL,
    Execution,
    JobLog,
    execution_arn,
    get_execution,
    get_steps,
    job_log,
)
from ratesflow.workflow.client.history import Step, StepSummary, summarize
from ratesflow.workflow.client.job_progress import JobPoller, JobProgress
from ratesflow.workflow.client.next_steps import next_step
from ratesflow.workflow.client.reports import read_report, split_address
from ratesflow.workflow.diagram.execution_graph import graph_of
from ratesflow.workflow.diagram.svg import svg
from ratesflow.workflow.timestamps import iso

LOG_LINES = 200
EVENTS = 500


@dataclass(frozen=True)
class Page:
    """One execution with everything that its page shows."""

    execution: Execution
    steps: list[Step]
    summaries: list[StepSummary]
    graph: str
    next_step: str
    progress: JobProgress | None
    log: JobLog | None
    report: Mapping[str, Any] | None

    @property
    def ended(self) -> bool:
        """Return whether the execution has ended."""
        return self.execution.status in TERMINAL


class CachedEnvironment:
    """Returns the same environment, with its clients, until its addresses change."""

    def __init__(self, find: Callable[[], Environment]) -> None:
        self._find = find
        self._last: Environment | None = None

    def __call__(self) -> Environment:
        """Return the environment. Raises EnvironmentMissingError."""
        found = self._find()
        if self._last is None or dict(found.values) != dict(self._last.values):
            self._last = found
        return self._last


def read_page(environment: Environment, name: str) -> Page:
    """Return an execution with everything that its page shows. Raises ExecutionMissingError."""
    # The steps first, and again after the end: they are never older than the status.
    steps = get_steps(environment, name)
    execution = get_execution(environment, name)
    if execution.status in TERMINAL:
        steps = get_steps(environment, name)
    failed = next((step for step in steps if step.error and step.job_id), None)
    address = execution.answer.get("report")
    wanted = execution.outcome == "rejected" and address
    summaries = summarize(steps)
    running = next((one.job_id for one in summaries if one.status == "running" and one.job_id), None)
    return Page(
        execution,
        steps,
        summaries,
        svg(graph_of(environment, execution, steps), alone=False),
        next_step(execution, environment),
        JobPoller(environment, running).poll() if running else None,
        job_log(environment, failed, 40) if failed else None,
        read_report(environment, str(address)) if wanted else None,
    )


def stream_object(environment: Environment, address: str) -> Iterator[bytes]:
    """Yield the bytes of an object in pieces, so that memory is bounded."""
    bucket, key = split_address(address)
    pieces: Iterator[bytes] = environment.client("s3").get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(2**16)
    return pieces


def read_log(environment: Environment, name: str, job_id: str) -> JobLog | None:
    """Return the log of a job of an execution; None when it has no such job, or the job has expired in Batch."""
    step = next((step for step in get_steps(environment, name) if step.job_id == job_id), None)
    return job_log(environment, step, LOG_LINES) if step else None


def read_events(environment: Environment, name: str) -> list[Mapping[str, Any]]:
    """Return the first events in the history of an execution: id, time, type, details."""
    pages = (
        environment.client("stepfunctions")
        .get_paginator("get_execution_history")
        .paginate(
            executionArn=execution_arn(environment, name),
            includeExecutionData=True,
            PaginationConfig={"MaxItems": EVENTS},
        )
    )
    return [_event(event) for page in pages for event in page["events"]]


def _text(value: object) -> str:
    return iso(value) if isinstance(value, datetime) else str(value)


def _event(event: Mapping[str, Any]) -> Mapping[str, Any]:
    details: Any = next((value for key, value in event.items() if key.endswith("EventDetails")), {})
    text = json.dumps(details, indent=1, default=_text, ensure_ascii=False)
    return {"id": event["id"], "at": event["timestamp"], "type": event["type"], "details": text[:20_000]}
