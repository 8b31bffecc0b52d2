"""What the pages show, read through the workflow's own functions: executions, reports, logs, events."""

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
from ratesflow.workflow.client.job_progress import JobPoller, Underway
from ratesflow.workflow.client.next_steps import next_step
from ratesflow.workflow.client.start import split_address
from ratesflow.workflow.diagram.execution_graph import graph_of
from ratesflow.workflow.diagram.layout import LayoutMissingError
from ratesflow.workflow.diagram.svg import svg
from ratesflow.workflow.timestamps import iso

LOG_LINES = 200
EVENTS = 500


@dataclass(frozen=True)
class Page:
    """One execution with everything that its page shows."""

    execution: Execution
    steps: list[Step]
    story: list[StepSummary]
    picture: str
    picture_missing: str
    next: str
    underway: Underway | None
    log: JobLog | None
    report: Mapping[str, Any] | None

    @property
    def ended(self) -> bool:
        """Tell whether nothing will change any more."""
        return self.execution.status in TERMINAL


class Kept:
    """The environment as it was found last, so that its clients are made once, until its addresses change."""

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
    """Return an execution with its steps and whatever else there is to show. Raises ExecutionMissingError."""
    # The steps first: what an end tells is never older than the end.
    steps = get_steps(environment, name)
    execution = get_execution(environment, name)
    if execution.status in TERMINAL:
        steps = get_steps(environment, name)
    picture, missing = "", ""
    try:
        picture = svg(graph_of(environment, execution, steps), alone=False)
    except LayoutMissingError as error:
        missing = str(error)
    failed = next((step for step in steps if step.error and step.job_id), None)
    address = execution.answer.get("report")
    wanted = execution.outcome == "rejected" and address
    story = summarize(steps)
    running = next((line.job_id for line in story if line.status == "running" and line.job_id), None)
    return Page(
        execution,
        steps,
        story,
        picture,
        missing,
        next_step(execution, environment),
        JobPoller(environment, running).look() if running else None,
        job_log(environment, failed, 40) if failed else None,
        json.loads(read_object(environment, str(address))) if wanted else None,
    )


def read_object(environment: Environment, address: str) -> bytes:
    """Return the bytes of an object that an answer names."""
    bucket, key = split_address(address)
    body: bytes = environment.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


def stream_object(environment: Environment, address: str) -> Iterator[bytes]:
    """Yield the bytes of an object piece by piece, however long it is."""
    bucket, key = split_address(address)
    pieces: Iterator[bytes] = environment.client("s3").get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(2**16)
    return pieces


def read_log(environment: Environment, name: str, job_id: str) -> JobLog | None:
    """Return the log of a job of an execution; None when it is none of its jobs, or Batch has forgotten it."""
    step = next((step for step in get_steps(environment, name) if step.job_id == job_id), None)
    return job_log(environment, step, LOG_LINES) if step else None


def read_events(environment: Environment, name: str) -> list[Mapping[str, Any]]:
    """Return the first events of an execution as Step Functions tells them: id, time, type, details."""
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
