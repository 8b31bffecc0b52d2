"""A Batch job as a local process: its states, attempts, array and dependencies."""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from moto.batch import models

from ratesflow.local.aws.batch import job_spec
from ratesflow.local.aws.batch.job_description import describe, describe_attempt, summarise
from ratesflow.local.aws.batch.job_process import Attempt, AttemptSpec, Ending
from ratesflow.local.aws.batch.job_slots import Slots
from ratesflow.local.aws.batch.job_spec import RetryStrategy

LOG_GROUP = "/aws/batch/job"
TERMINAL = ("SUCCEEDED", "FAILED")
_BEFORE_STARTING = ("SUBMITTED", "PENDING", "RUNNABLE")
_ENDED = "Essential container in task exited"
_TIMED_OUT = "Job attempt duration exceeded timeout"
_NOT_STARTED = "Task failed to start"
_CHILD_FAILED = "Array Child Job failed"
_DEPENDENCY_FAILED = "Dependent Job failed"
_DEPENDENCY_POLL_SECONDS = 0.1

# moto does not pass SubmitJob's retryStrategy from the request to the job.
submitted_retry: ContextVar[RetryStrategy | None] = ContextVar("submitted_retry", default=None)


class ProcessJob(models.Job):  # type: ignore[misc] # moto is untyped
    """A job, an array's parent, or an array's child."""

    __module__ = models.__name__  # moto derives the service's name from it
    slots: Slots
    stop: bool  # of moto: whether the job shall end
    log_stream_name: str | None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._status = "SUBMITTED"
        self._guard = threading.RLock()
        self._attempt: Attempt | None = None
        self._children_left = self.array_properties.get("size", 0)
        self.exit_code: int | None = None
        self.exit_reason: str | None = None
        self.retry = submitted_retry.get() or job_spec.parse_retry_strategy(self.job_definition.retry_strategy)
        if self.index is not None:
            self.job_queue.jobs.remove(self)  # AWS lists children only by their parent

    @property
    def index(self) -> int | None:
        """The child's index in its array; None for any other job."""
        index: int | None = self.array_properties.get("index")
        return index

    @property
    def status(self) -> str:
        """The job's status; moto's own property advances through the states by itself."""
        return self._status

    @status.setter
    def status(self, value: Any) -> None:
        self._status = str(getattr(value, "value", value))

    def start(self) -> None:
        """Start the job; moto calls this once the job is registered."""
        if self.depends_on:
            self._set("PENDING")
            threading.Thread(target=self._await_dependencies, daemon=True).start()
        else:
            self._make_runnable()

    def _await_dependencies(self) -> None:
        wanted = [self.all_jobs[entry["jobId"]] for entry in self.depends_on if entry["jobId"] in self.all_jobs]
        while any(job.status not in TERMINAL for job in wanted) and self.status not in TERMINAL:
            time.sleep(_DEPENDENCY_POLL_SECONDS)
        if any(job.status == "FAILED" for job in wanted):
            self.finish("FAILED", _DEPENDENCY_FAILED)
        else:
            self._make_runnable()

    def _make_runnable(self) -> None:
        if self._set("RUNNABLE"):
            if (parent := self._parent()) is not None and parent.status == "SUBMITTED":
                parent._set("PENDING")
            self.slots.enqueue(self)

    def _set(self, status: str) -> bool:
        """Set the status unless the job has ended; return whether it was set."""
        with self._guard:
            if self._status in TERMINAL:
                return False
            self._status = status
            return True

    def attempt_once(self) -> bool:
        """Run one attempt; return whether another one is due."""
        if not self._set("STARTING"):
            return False
        number = len(self.attempts) + 1
        self._stream = f"{self.job_definition.name}/default/{self.job_id.replace(':', '-')}-{number}"
        self.log_stream_name = self._stream
        self._write_lines(0, [])  # creates the stream
        self.job_started_at = datetime.now()
        self._attempt = Attempt(self._spec(number), self.slots.records, self._write_lines)
        try:
            self._attempt.start()
        except OSError as error:
            ending = Ending(None, f"CannotStartContainerError: {error}")
        else:
            self._set("RUNNING")
            if self.stop:  # terminated meanwhile
                self._attempt.stop()
            ending = self._attempt.wait()
        return self._close_attempt(number, ending)

    def _close_attempt(self, number: int, ending: Ending) -> bool:
        status_reason = self._status_reason(ending)
        if ending.exit_code is None:
            self.log_stream_name = None  # as on AWS when the container did not start
        self.exit_code, self.exit_reason = ending.exit_code, ending.reason
        self.attempts.append(describe_attempt(self, datetime.now(), status_reason))
        if self.stop or ending.timed_out:
            self.finish("FAILED", status_reason)
        elif ending.exit_code == 0:
            self.finish("SUCCEEDED", status_reason)
        elif job_spec.should_retry(self.retry, number, ending.exit_code, ending.reason, status_reason):
            return self._set("RUNNABLE")
        else:
            self.finish("FAILED", status_reason)
        return False

    def _status_reason(self, ending: Ending) -> str:
        if self.stop and self.job_stopped_reason:
            return str(self.job_stopped_reason)
        if ending.timed_out:
            return _TIMED_OUT
        return _NOT_STARTED if ending.exit_code is None else _ENDED

    def finish(self, status: str, reason: str | None) -> None:
        """Set the final status, and the parent's if this was the last child."""
        with self._guard:
            if self._status in TERMINAL:
                return
            self.job_stopped = True
            self.job_stopped_at = datetime.now()
            self.job_stopped_reason = reason
            self._status = status
        if (parent := self._parent()) is not None:
            parent.child_ended()

    def child_ended(self) -> None:
        """Count an ended child; with the last one, set the parent's final status."""
        with self._guard:
            self._children_left -= 1
            if self._children_left:
                return
        children = self.children()
        self.job_started_at = min(child.job_started_at for child in children)
        if all(child.status == "SUCCEEDED" for child in children):
            self.finish("SUCCEEDED", None)
        else:
            self.finish("FAILED", self.job_stopped_reason or _CHILD_FAILED)

    def terminate(self, reason: str) -> None:
        """Implement TerminateJob: a waiting job ends at once, a running one receives SIGTERM, then SIGKILL."""
        with self._guard:
            if self._status in TERMINAL or self.stop:
                return
            self.stop = True
            self.job_stopped_reason = reason
            is_waiting = self._status in _BEFORE_STARTING
            attempt = self._attempt
            is_running = self._status == "RUNNING"
        children = self.children()
        for child in children:
            child.terminate(reason)
        if is_waiting and not children:
            self.finish("FAILED", reason)
        elif is_running and attempt is not None:
            attempt.stop()

    def cancel(self, reason: str) -> None:
        """Implement CancelJob, which ends only jobs that have not started."""
        for job in self.children() or [self]:
            if job.status in _BEFORE_STARTING:
                job.terminate(reason)

    def _spec(self, number: int) -> AttemptSpec:
        definition, overrides = self.job_definition.container_properties, self.container_overrides
        memory = job_spec.merged_requirements(definition, overrides).get("MEMORY")
        command = overrides.get("command") or definition["command"]
        settings = self.slots.settings
        identity = {
            "AWS_BATCH_JOB_ID": self.job_id,
            "AWS_BATCH_JOB_ATTEMPT": str(number),
            "AWS_BATCH_JQ_NAME": self.job_queue.name,
        }
        if self.index is not None:
            identity["AWS_BATCH_JOB_ARRAY_INDEX"] = str(self.index)
        return AttemptSpec(
            job_id=self.job_id,
            attempt=number,
            command=job_spec.substitute_parameters(command, self.parameters),
            environment=job_spec.base_environment(settings, self.backend.region_name)
            | job_spec.role_environment(definition)
            | job_spec.merged_environment(definition, overrides)
            | identity,
            memory_mib=None if memory is None else int(memory),
            timeout_seconds=self._get_attempt_duration(),
            grace_seconds=settings.kill_grace_seconds,
        )

    def _write_lines(self, timestamp: int, lines: list[str]) -> None:
        logs = self._log_backend
        logs.ensure_log_group(LOG_GROUP)
        logs.ensure_log_stream(LOG_GROUP, self._stream)
        if lines:
            events = [{"timestamp": timestamp, "message": line} for line in lines]
            logs.put_log_events(LOG_GROUP, self._stream, events)

    def describe(self) -> dict[str, Any]:
        """Return the job in the format of DescribeJobs."""
        return describe(self)

    def describe_short(self) -> dict[str, Any]:
        """Return the job in the format of ListJobs."""
        return summarise(self)

    def _parent(self) -> ProcessJob | None:
        return None if self.index is None else self.all_jobs[self.job_id.rpartition(":")[0]]

    def children(self) -> list[ProcessJob]:
        """Return an array's children; other jobs have none."""
        size = self.array_properties.get("size", 0)
        found = (self.all_jobs.get(f"{self.job_id}:{index}") for index in range(size))
        return [child for child in found if child is not None]
