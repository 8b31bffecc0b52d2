"""Timeouts, and deployments while batches are running."""

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
from tests.local.process_control import Mailbox, databases, ended, leftovers, own_role, revisions, send, start, state
from tests.local.signaller import Signaller
from tests.waiting import wait_for


@pytest.fixture
def short_timeouts(stack: Stack) -> Iterator[Callable[[str], str]]:
    """A function that creates a state machine in which one step may wait one second and run one second."""
    created = []

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
        arn = states.create_state_machine(name=f"short-{task}", definition=definition, roleArn=role)
        created.append(arn["stateMachineArn"])
        return created[-1]

    states = stack.aws("stepfunctions")
    yield machine
    for arn in created:
        states.delete_state_machine(stateMachineArn=arn)


def test_batch_that_waits_too_long_for_a_slot_fails(stack: Stack, short_timeouts: Callable[[str], str]) -> None:
    """A step that times out in the queue has its job terminated and its batch discarded."""
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
    name = start(stack, csv(rows(100, seed=901)), "queue-time", 1, short_timeouts("validate"))
    execution = ended(stack, name, machine="short-validate")
    assert execution["status"] == "FAILED"
    assert execution["cause"].startswith("validate did not end in time")
    assert state(stack, name) == ("failed", execution["cause"])
    assert leftovers(stack, name) == []
    jobs = batch.list_jobs(jobQueue=queue, filters=[{"name": "JOB_NAME", "values": [f"validate-{name}"]}])
    assert [job["status"] for job in jobs["jobSummaryList"]] == ["FAILED"]


def test_step_that_runs_too_long_is_terminated(stack: Stack, short_timeouts: Callable[[str], str]) -> None:
    """A suspended load is terminated when its state times out; the batch is discarded and notified once."""
    mailbox = Mailbox(stack)
    # A load of few rows could end before it is suspended.
    with Signaller(stack, "load", "run-time", signal.SIGSTOP):
        name = start(stack, csv(rows(60_000, seed=902)), "run-time", 1, short_timeouts("load"))
        execution = ended(stack, name, machine="short-load")
    assert execution["cause"].startswith("load did not end in time")
    assert state(stack, name) == ("failed", execution["cause"])
    wait_for(lambda: leftovers(stack, name) == [])
    assert [message["outcome"] for message in mailbox.of(name)] == ["failed"]


def test_running_batch_keeps_its_job_definitions_during_a_deployment(stack: Stack, tmp_path: Path) -> None:
    """A running batch finishes with its definition and job definitions; the next one uses the new ones."""
    states = stack.aws("stepfunctions")
    with Signaller(stack, "validate", "deployed-a-", signal.SIGSTOP) as signaller:
        first = send(stack, tmp_path, csv(rows(200, seed=903)), "deployed-a")
        wait_for(lambda: signaller.signalled)
        deploy(stack.environment["AWS_ENDPOINT_URL"], databases(stack))
    second = send(stack, tmp_path, csv(rows(200, seed=904)), "deployed-b")
    assert ended(stack, second)["status"] == "SUCCEEDED"
    for pid in signaller.signalled:
        os.kill(pid, signal.SIGCONT)
    execution = ended(stack, first)
    assert execution["status"] == "SUCCEEDED"
    assert {state(stack, name)[0] for name in (first, second)} == {"committed"}
    old, new = revisions(stack, first), revisions(stack, second)
    assert len(set(old.values())) == 1
    assert new == {task: str(int(revision) + 1) for task, revision in old.items()}
    definition = states.describe_state_machine_for_execution(executionArn=execution["executionArn"])["definition"]
    assert f"ratesflow-load:{old['load']}" in definition
