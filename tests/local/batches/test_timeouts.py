"""Limits of time, and deployments, while batches are under way."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ratesflow.local.deploy import deploy
from ratesflow.workflow.definition import definition_json, ingestion_workflow
from ratesflow.workflow.job_definitions import BATCH_TASKS
from ratesflow.workflow.placeholders import substitute
from ratesflow.workflow.settings import WorkflowSettings
from tests.loader.samples import csv, rows
from tests.local.conftest import Stack
from tests.local.process_control import (
    Mailbox,
    Signaller,
    databases,
    ended,
    left,
    own_role,
    revisions,
    send,
    start,
    state,
    wait_for,
)


@pytest.fixture
def impatient(stack: Stack) -> Iterator[Callable[[str], str]]:
    """Makes a second state machine in the stack, of which one step may wait a second and run a second."""
    made = []

    def machine(task: str) -> str:
        names = [each.name for each in BATCH_TASKS]
        settings = WorkflowSettings(
            queue_seconds=1,
            run_seconds={name: 1 if name == task else 60 for name in names},
            attempts=dict.fromkeys(names, 1),
            jobs={name: f"ratesflow-{name}" for name in names},
        )
        environment = stack.environment
        values = {
            "JobQueue": environment["RATESFLOW_JOB_QUEUE"],
            "TopicArn": environment["RATESFLOW_TOPIC_ARN"],
            "Bucket": environment["RATESFLOW_BUCKET"],
            "Environment": "local",
        }
        definition = substitute(definition_json(ingestion_workflow(settings)), values)
        role = own_role(stack)
        arn = states.create_state_machine(name=f"impatient-{task}", definition=definition, roleArn=role)
        made.append(arn["stateMachineArn"])
        return made[-1]

    states = stack.aws("stepfunctions")
    yield machine
    for arn in made:
        states.delete_state_machine(stateMachineArn=arn)


def test_a_batch_that_waits_too_long_for_a_place(stack: Stack, impatient: Callable[[str], str]) -> None:
    """While other jobs take every place, a step's time ends in the queue: its job is ended, the batch discarded."""
    batch = stack.aws("batch")
    batch.register_job_definition(
        jobDefinitionName="sleeper",
        type="container",
        containerProperties={
            "image": "any",
            "command": ["sleep", "6"],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}],
        },
    )
    queue = stack.environment["RATESFLOW_JOB_QUEUE"]
    for _ in range(4):
        batch.submit_job(jobName="sleeper", jobQueue=queue, jobDefinition="sleeper")
    name = start(stack, csv(rows(100, seed=901)), "queue-time", 1, impatient("validate"))
    execution = ended(stack, name, machine="impatient-validate")
    assert execution["status"] == "FAILED"
    assert execution["cause"].startswith("validate did not end in time")
    assert state(stack, name) == ("failed", execution["cause"])
    assert left(stack, name) == []
    jobs = batch.list_jobs(jobQueue=queue, filters=[{"name": "JOB_NAME", "values": [f"validate-{name}"]}])
    assert [job["status"] for job in jobs["jobSummaryList"]] == ["FAILED"]


def test_a_step_that_runs_too_long_is_ended(stack: Stack, impatient: Callable[[str], str]) -> None:
    """A load that stands still is ended when its state's time is over; the batch is discarded, and told once."""
    mailbox = Mailbox(stack)
    # A load of few rows could be over before it is caught.
    with Signaller(stack, "load", "run-time", signal.SIGSTOP):
        name = start(stack, csv(rows(60_000, seed=902)), "run-time", 1, impatient("load"))
        execution = ended(stack, name, machine="impatient-load")
    assert execution["cause"].startswith("load did not end in time")
    assert state(stack, name) == ("failed", execution["cause"])
    wait_for(lambda: left(stack, name) == [])
    assert [message["outcome"] for message in mailbox.of(name)] == ["failed"]


def test_a_deployment_in_the_middle_of_a_batch(stack: Stack, tmp_path: Path) -> None:
    """A batch ends by the definition and the job definitions that it began with; the next one has the new ones."""
    states = stack.aws("stepfunctions")
    with Signaller(stack, "validate", "deployed-a-", signal.SIGSTOP) as hand:
        first = send(stack, tmp_path, csv(rows(200, seed=903)), "deployed-a")
        wait_for(lambda: hand.hit)
        deploy(stack.environment["AWS_ENDPOINT_URL"], databases(stack))
    second = send(stack, tmp_path, csv(rows(200, seed=904)), "deployed-b")
    assert ended(stack, second)["status"] == "SUCCEEDED"
    for pid in hand.hit:
        os.kill(pid, signal.SIGCONT)
    execution = ended(stack, first)
    assert execution["status"] == "SUCCEEDED"
    assert {state(stack, name)[0] for name in (first, second)} == {"committed"}
    old, new = revisions(stack, first), revisions(stack, second)
    assert len(set(old.values())) == 1
    assert new == {task: str(int(revision) + 1) for task, revision in old.items()}
    ran = states.describe_state_machine_for_execution(executionArn=execution["executionArn"])["definition"]
    assert f"ratesflow-load:{old['load']}" in ran
