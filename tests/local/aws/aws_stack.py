"""Starts an embedded AWS for tests, and runs jobs and state machines on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from ratesflow.local.processes import free_port

ROLE = "arn:aws:iam::123456789012:role/test"
EVERYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})


@dataclass
class Stack:
    """A server process and its clients."""

    process: subprocess.Popen[str]
    port: int
    data: Path
    _clients: dict[str, Any] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        """The server's URL."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str) -> Any:
        """Return a boto3 client of the server."""
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                endpoint_url=self.endpoint,
                region_name="us-east-1",
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(retries={"total_max_attempts": 1}),
            )
        return self._clients[service]

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        self.process.kill()
        self.process.wait()

    def record(self, job_id: str, attempt: int = 1) -> dict[str, Any]:
        """Return the server's record of an attempt of a job."""
        document = json.loads((self.data / "jobs" / f"{job_id.replace(':', '-')}-{attempt}.json").read_text())
        assert isinstance(document, dict)
        return document


def launch(data: Path, port: int | None = None, *options: str) -> Stack:
    """Start a server and wait until it is ready."""
    port = port or free_port()
    command = [sys.executable, "-P", "-m", "ratesflow.local.aws", "--port", str(port), "--data", str(data), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "AWS_PROFILE": "none"})
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return Stack(process, port, data)


@contextmanager
def running(data: Path, *options: str) -> Iterator[Stack]:
    """Start a separate server, and stop it at the end if it is still running."""
    stack = launch(data, None, *options)
    try:
        yield stack
    finally:
        stack.process.terminate()
        stack.process.wait(15)


def prepare_batch(stack: Stack) -> None:
    """Create a queue `queue` and a job definition `shell`, whose command is the parameter `script`."""
    iam = stack.client("iam")
    iam.create_role(RoleName="test", AssumeRolePolicyDocument="{}")
    iam.put_role_policy(RoleName="test", PolicyName="all", PolicyDocument=EVERYTHING)
    batch = stack.client("batch")
    batch.create_compute_environment(
        computeEnvironmentName="local", type="UNMANAGED", state="ENABLED", serviceRole=ROLE
    )
    batch.create_job_queue(
        jobQueueName="queue",
        state="ENABLED",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "local"}],
    )
    batch.register_job_definition(
        jobDefinitionName="shell",
        type="container",
        parameters={"script": "true", "greeting": "hello"},
        containerProperties={
            "image": "none",
            "command": ["sh", "-c", "Ref::script"],
            "environment": [{"name": "FROM_DEFINITION", "value": "1"}, {"name": "SHADE", "value": "light"}],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}],
        },
    )


def wait_for(condition: Callable[[], Any], seconds: float = 15) -> Any:
    """Call a condition until it returns a true value, and return that value."""
    limit = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < limit, "timed out"
        time.sleep(0.03)
    return value


@dataclass(frozen=True)
class Jobs:
    """Submits jobs to a server and waits for them."""

    stack: Stack

    def submit(self, script: str = "true", **options: Any) -> str:
        """Submit a shell script; return the job's id."""
        parameters = {"script": script} | options.pop("parameters", {})
        response = self.stack.client("batch").submit_job(
            jobName="test", jobQueue="queue", jobDefinition="shell", parameters=parameters, **options
        )
        return str(response["jobId"])

    def describe(self, job_id: str) -> dict[str, Any]:
        """Return the job's current description."""
        job = self.stack.client("batch").describe_jobs(jobs=[job_id])["jobs"][0]
        assert isinstance(job, dict)
        return job

    def until(self, job_id: str, *states: str) -> dict[str, Any]:
        """Wait until the job is in one of the states; return its description."""
        return dict(wait_for(lambda: job if (job := self.describe(job_id))["status"] in states else None))

    def end(self, job_id: str) -> dict[str, Any]:
        """Wait until the job has ended; return its description."""
        return self.until(job_id, "SUCCEEDED", "FAILED")

    def run(self, script: str = "true", **options: Any) -> dict[str, Any]:
        """Submit a script and wait until its job has ended."""
        return self.end(self.submit(script, **options))

    def log(self, job: dict[str, Any]) -> list[str]:
        """Return the log lines of the job's last attempt."""
        logs = self.stack.client("logs")
        name = {"logGroupName": "/aws/batch/job", "logStreamName": job["container"]["logStreamName"]}
        events = logs.get_log_events(**name, startFromHead=True)["events"]
        return [event["message"] for event in events]


@dataclass(frozen=True)
class Machines:
    """Creates state machines on the shared server and runs them."""

    stack: Stack

    @property
    def client(self) -> Any:
        """The Step Functions client."""
        return self.stack.client("stepfunctions")

    def create(self, definition: dict[str, Any]) -> str:
        """Create a state machine with a new name; return its ARN."""
        name = f"machine-{uuid.uuid4().hex[:12]}"
        response = self.client.create_state_machine(name=name, definition=json.dumps(definition), roleArn=ROLE)
        return str(response["stateMachineArn"])

    def start(self, arn: str, given: Any = None, **options: Any) -> str:
        """Start an execution; return its ARN."""
        response = self.client.start_execution(stateMachineArn=arn, input=json.dumps(given or {}), **options)
        return str(response["executionArn"])

    def end(self, execution: str) -> dict[str, Any]:
        """Wait until an execution has ended; return its description."""

        def ended() -> dict[str, Any] | None:
            description = self.client.describe_execution(executionArn=execution)
            return None if description["status"] == "RUNNING" else description

        return dict(wait_for(ended, 20))

    def run(self, definition: dict[str, Any], given: Any = None) -> dict[str, Any]:
        """Create a state machine, run it, and return the ended execution."""
        return self.end(self.start(self.create(definition), given))

    def history(self, execution: str) -> list[dict[str, Any]]:
        """Return all events of an execution."""
        return list(self.client.get_execution_history(executionArn=execution, maxResults=1000)["events"])
