"""Failures outside the state machine: lost events, a failing trigger, executions that were stopped or timed out."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ratesflow.local.aws.settings import default_slots
from ratesflow.local.event_source_mapping import WAIT_SECONDS
from tests.loader.samples import csv, rows
from tests.local.conftest import Stack
from tests.local.process_control import Mailbox, ended, leftovers, own_role, send, start, state
from tests.local.signaller import Signaller
from tests.local.test_main_job import aws
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def mailbox(stack: Stack) -> Mailbox:
    """The notifications of the shared stack."""
    return Mailbox(stack)


@contextmanager
def all_slots_taken(stack: Stack) -> Iterator[None]:
    """Occupy every job slot of the stack."""
    batch, queue = stack.aws("batch"), stack.environment["RATESFLOW_JOB_QUEUE"]
    sleep = {"command": ["sleep", "100"]}
    jobs = [
        batch.submit_job(jobName="sleeper", jobQueue=queue, jobDefinition="ratesflow-ledger", containerOverrides=sleep)[
            "jobId"
        ]
        for _ in range(default_slots())
    ]
    wait_for(lambda: all(job["status"] == "RUNNING" for job in batch.describe_jobs(jobs=jobs)["jobs"]))
    yield
    for job in jobs:
        batch.terminate_job(jobId=job, reason="the test has ended")


def test_execution_stopped_before_its_first_task_is_closed_by_gc(
    stack: Stack, mailbox: Mailbox, tmp_path: Path
) -> None:
    """gc gives a batch that was stopped in the queue its ledger row, its message and one notification."""
    states = stack.aws("stepfunctions")
    with all_slots_taken(stack):
        name = send(stack, tmp_path, csv(rows(100, seed=860)), "in-the-queue")
        arn = f"{stack.environment['RATESFLOW_STATE_MACHINE_ARN'].replace(':stateMachine:', ':execution:')}:{name}"
        wait_for(lambda: _has_started(states, arn, "Validate"))
        reason = ("--error", "Tired", "--cause", "of waiting")
        aws(stack, "stepfunctions", "stop-execution", "--execution-arn", arn, *reason)
    assert stack.query("SELECT 1 FROM batches WHERE batch_id = %s", name) == []
    stack.run("gc")
    stack.run("gc")
    assert state(stack, name) == ("failed", "the execution was stopped: Tired: of waiting")
    assert leftovers(stack, name) == []
    assert [message["notification_id"] for message in mailbox.of(name)] == [f"{name}:failed"]


def _has_started(states: Any, arn: str, state_name: str) -> bool:
    try:
        events = states.get_execution_history(executionArn=arn, maxResults=1000)["events"]
    except states.exceptions.ExecutionDoesNotExist:
        return False
    return state_name in _entered(states, arn) and any(event["type"] == "TaskSubmitted" for event in events)


def _entered(states: Any, arn: str) -> list[str]:
    events = states.get_execution_history(executionArn=arn, maxResults=1000)["events"]
    return [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]


def test_execution_that_times_out_is_closed_by_gc(stack: Stack, mailbox: Mailbox) -> None:
    """An execution that its own TimeoutSeconds ends runs no Catch; gc closes its batch and notifies once."""
    states, machine = stack.aws("stepfunctions"), stack.environment["RATESFLOW_STATE_MACHINE_ARN"]
    definition = json.loads(states.describe_state_machine(stateMachineArn=machine)["definition"])
    role = own_role(stack)
    limited = json.dumps(definition | {"TimeoutSeconds": 5})
    arn = states.create_state_machine(name="five-seconds", definition=limited, roleArn=role)["stateMachineArn"]
    with Signaller(stack, "validate", "out-of-time", signal.SIGSTOP):
        name = start(stack, csv(rows(100, seed=861)), "out-of-time", 1, arn)
        assert ended(stack, name, machine="five-seconds")["status"] == "TIMED_OUT"
    stack.run("gc")
    found = stack.query("SELECT state FROM batches WHERE batch_id = %s", name)
    assert found in ([], [("failed",)])  # stopped before or after it created its row
    if found:
        assert "ran out of time" in str(state(stack, name)[1])
        wait_for(lambda: leftovers(stack, name) == [])
        assert [message["outcome"] for message in mailbox.of(name)] == ["failed"]
    states.delete_state_machine(stateMachineArn=arn)


@contextmanager
def replaced_notify_state(stack: Stack, replacement: dict[str, Any]) -> Iterator[None]:
    """Replace the state Notify in executions that start meanwhile."""
    states, machine = stack.aws("stepfunctions"), stack.environment["RATESFLOW_STATE_MACHINE_ARN"]
    original = states.describe_state_machine(stateMachineArn=machine)["definition"]
    definition = json.loads(original)
    definition["States"]["Notify"] = replacement
    states.update_state_machine(stateMachineArn=machine, definition=json.dumps(definition))
    try:
        yield
    finally:
        states.update_state_machine(stateMachineArn=machine, definition=original)


def test_gc_notifies_for_an_execution_stopped_before_its_notification(stack: Stack, mailbox: Mailbox) -> None:
    """A batch whose execution is stopped between commit and notification stays committed, and gc notifies."""
    states, machine = stack.aws("stepfunctions"), stack.environment["RATESFLOW_STATE_MACHINE_ARN"]
    with replaced_notify_state(stack, {"Type": "Wait", "Seconds": 100, "Next": "Done"}):
        name = start(stack, csv(rows(100, seed=864)), "not-notified", 1)
    arn = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
    wait_for(lambda: "Notify" in _entered(states, arn))
    stack.run("gc", "--batch", name)  # it is still running, and may notify by itself
    states.stop_execution(executionArn=arn)
    _check_notified_once(stack, mailbox, name, "committed")


def test_gc_notifies_for_an_execution_failed_before_its_notification(stack: Stack, mailbox: Mailbox) -> None:
    """gc notifies for an execution that failed after its commit without a Catch, and not again for other failures."""
    with replaced_notify_state(
        stack, {"Type": "Fail", "Error": "States.Runtime", "Cause": "a fault of the state machine"}
    ):
        name = start(stack, csv(rows(100, seed=865)), "broken-off", 1)
    assert ended(stack, name)["error"] == "States.Runtime"
    notified = start(stack, csv(rows(100, seed=866)), "notified", 1, gone=True)
    assert ended(stack, notified)["error"] == "BatchFailed"
    _check_notified_once(stack, mailbox, name, "committed")
    assert [message["notification_id"] for message in mailbox.of(notified)] == [f"{notified}:failed"]


def _check_notified_once(stack: Stack, mailbox: Mailbox, name: str, outcome: str) -> None:
    assert mailbox.of(name) == []
    stack.run("gc")
    stack.run("gc")
    assert state(stack, name)[0] == outcome
    assert [(message["notification_id"], message["rows"]) for message in mailbox.of(name)] == [
        (f"{name}:{outcome}", 100)
    ]


def test_gc_starts_an_object_whose_event_was_lost(stack: Stack, mailbox: Mailbox, tmp_path: Path) -> None:
    """gc starts, once and through the trigger, an object that has waited too long without a ledger row."""
    events, batch = stack.aws("events"), stack.aws("batch")
    (target,) = events.list_targets_by_rule(Rule="ratesflow-arrivals")["Targets"]
    events.remove_targets(Rule="ratesflow-arrivals", Ids=[target["Id"]])
    name = send(stack, tmp_path, csv(rows(100, seed=862)), "lost")
    bucket = stack.environment["RATESFLOW_BUCKET"]
    for ignored_file in ("_SUCCESS", "lost.csv.md5", "_temporary/0/part.csv"):
        stack.aws("s3").put_object(Bucket=bucket, Key=f"incoming/{ignored_file}", Body=b"x")
    events.put_targets(Rule="ratesflow-arrivals", Targets=[target])
    assert "0 lost objects started" in stack.run("gc").stdout
    (definition,) = batch.describe_job_definitions(jobDefinitionName="ratesflow-gc", status="ACTIVE")["jobDefinitions"][
        -1:
    ]
    _register(batch, definition, {"RATESFLOW_RETRIGGER_AFTER_MINUTES": "0"})
    try:
        assert "1 lost object started" in stack.run("gc").stdout
        assert ended(stack, name)["status"] == "SUCCEEDED"
        assert "0 lost objects started" in stack.run("gc").stdout
    finally:
        _register(batch, definition, {})
    assert state(stack, name)[0] == "committed"
    assert [message["outcome"] for message in mailbox.of(name)] == ["committed"]


def _register(batch: Any, definition: dict[str, Any], more: dict[str, str]) -> None:
    container = definition["containerProperties"]
    variables = [*container["environment"], *({"name": key, "value": value} for key, value in more.items())]
    fields = ("jobDefinitionName", "type", "parameters", "retryStrategy", "timeout")
    batch.register_job_definition(
        **{field: definition[field] for field in fields}, containerProperties=container | {"environment": variables}
    )


def test_events_that_the_trigger_cannot_start_are_redriven(stack: Stack, tmp_path: Path) -> None:
    """While the trigger cannot start executions, events go to the dead-letter queue; `redrive` starts them later."""
    states, sqs = stack.aws("stepfunctions"), stack.aws("sqs")
    arrivals, dead = (stack.environment[f"RATESFLOW_{each}_URL"] for each in ("QUEUE", "DEAD_LETTER_QUEUE"))
    alias = stack.environment["RATESFLOW_STATE_MACHINE_ALIAS_ARN"]
    routes = states.describe_state_machine_alias(stateMachineAliasArn=alias)["routingConfiguration"]
    sqs.set_queue_attributes(QueueUrl=arrivals, Attributes={"VisibilityTimeout": "0"})
    time.sleep(WAIT_SECONDS + 0.2)  # a running poll has the old timeout
    states.delete_state_machine_alias(stateMachineAliasArn=alias)
    try:
        name = send(stack, tmp_path, csv(rows(100, seed=863)), "redriven")
        wait_for(lambda: _waiting(sqs, dead) == 1)
    finally:
        states.create_state_machine_alias(name=alias.rpartition(":")[2], routingConfiguration=routes)
        sqs.set_queue_attributes(QueueUrl=arrivals, Attributes={"VisibilityTimeout": "60"})
    assert f"started {name}" in stack.run("redrive").stdout
    assert ended(stack, name)["status"] == "SUCCEEDED"
    assert _waiting(sqs, dead) == 0


def _waiting(sqs: Any, queue: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return sum(int(value) for value in found.values())
