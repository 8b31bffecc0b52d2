"""Deployments with versions and an alias, and the state machine of another team."""

import json
import os
import signal
import warnings
from pathlib import Path
from typing import Any

from ratesflow.local.deploy import CREDENTIALS, deploy
from ratesflow.workflow.job_definitions import BATCH_TASKS
from ratesflow.workflow.placeholders import definition_text
from ratesflow.workflow.settings import WorkflowSettings
from tests.loader.samples import csv, rows
from tests.local.conftest import Stack
from tests.local.process_control import Mailbox, databases, ended, leftovers, own_role, revisions, send, start, state
from tests.local.signaller import Signaller
from tests.waiting import wait_for


def test_running_execution_keeps_its_version_during_a_deployment(stack: Stack, tmp_path: Path) -> None:
    """After a deployment, a running batch finishes with the old version, and the next one has the new state."""
    states, alias = stack.aws("stepfunctions"), stack.environment["RATESFLOW_STATE_MACHINE_ALIAS_ARN"]
    new = json.loads(definition_text())
    new["States"]["Committed"]["Next"], following = "Greet", new["States"]["Committed"]["Next"]
    new["States"]["Greet"] = {"Type": "Pass", "Next": following}
    endpoint, addresses = stack.environment["AWS_ENDPOINT_URL"], databases(stack)
    old_version = _version(states, alias)
    with Signaller(stack, "load", "released-a-", signal.SIGSTOP) as signaller:
        first = send(stack, tmp_path, csv(rows(200, seed=905)), "released-a")
        wait_for(lambda: signaller.signalled)
        deploy(endpoint, addresses, json.dumps(new))
    try:
        second = ended(stack, send(stack, tmp_path, csv(rows(200, seed=906)), "released-b"))
        for pid in signaller.signalled:
            os.kill(pid, signal.SIGCONT)
        old = ended(stack, first)
    finally:
        new_version = _version(states, alias)
        deploy(endpoint, addresses)
    assert (old["status"], second["status"]) == ("SUCCEEDED", "SUCCEEDED")
    assert old_version != new_version
    assert [old["stateMachineVersionArn"], second["stateMachineVersionArn"]] == [old_version, new_version]
    assert {old["stateMachineAliasArn"], second["stateMachineAliasArn"]} == {alias}
    assert "Greet" not in _entered(states, old["executionArn"])
    assert "Greet" in _entered(states, second["executionArn"])
    kept = stack.aws("batch").describe_job_definitions(jobDefinitionName="ratesflow-commit", status="ACTIVE")
    assert int(revisions(stack, first)["commit"]) in {each["revision"] for each in kept["jobDefinitions"]}


def _version(states: Any, alias: str) -> str:
    (route,) = states.describe_state_machine_alias(stateMachineAliasArn=alias)["routingConfiguration"]
    return str(route["stateMachineVersionArn"])


def _entered(states: Any, arn: str) -> list[str]:
    events = states.get_execution_history(executionArn=arn, maxResults=1000)["events"]
    return [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]


def _team_machine(stack: Stack, name: str, step: dict[str, Any]) -> str:
    """Create the workflow of another team with the SDK: own names, own load task, an additional step."""
    import boto3

    from ratesflow.workflow.definition import ingestion_workflow
    from ratesflow.workflow.sdk import BatchJob, Graph

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from stepfunctions.workflow import Workflow

    environment, batch = stack.environment, stack.aws("batch")
    definition = batch.describe_job_definitions(jobDefinitionName="ratesflow-load", status="ACTIVE")["jobDefinitions"][
        -1
    ]
    fields = ("type", "parameters", "containerProperties", "retryStrategy")
    batch.register_job_definition(jobDefinitionName="their-load", **{field: definition[field] for field in fields})
    settings = WorkflowSettings(
        job_queue=environment["RATESFLOW_JOB_QUEUE"],
        topic_arn=environment["RATESFLOW_TOPIC_ARN"],
        bucket=environment["RATESFLOW_BUCKET"],
        environment="theirs",
        jobs={task.name: f"ratesflow-{task.name}" for task in BATCH_TASKS} | {"load": "their-load"},
    )
    job = {"JobName": "approve", "JobQueue": settings.job_queue, "JobDefinition": "ratesflow-ledger"}
    own = BatchJob("Approve", parameters={**job, **step}, result_path=None)
    graph = ingestion_workflow(settings, [own])
    assert isinstance(graph, Graph)
    session = boto3.Session(region_name=CREDENTIALS["AWS_DEFAULT_REGION"])
    client = session.client("stepfunctions", endpoint_url=environment["AWS_ENDPOINT_URL"])
    role = own_role(stack)
    return str(Workflow(name=name, definition=graph, role=role, client=client).create())


def test_other_team_adds_its_own_task_and_step(stack: Stack, monkeypatch: Any) -> None:
    """A workflow with another load task and an additional step commits; if the step fails, the batch is discarded."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    mailbox = Mailbox(stack)
    good = _team_machine(stack, "theirs", {"ContainerOverrides": {"Command": ["true"]}})
    bad = _team_machine(stack, "theirs-fails", {"ContainerOverrides": {"Command": ["false"]}})
    data = csv(rows(100, seed=907))
    failed = start(stack, data, "their-failure", 1, bad)
    assert ended(stack, failed, machine="theirs-fails")["cause"].startswith("approve failed")
    assert state(stack, failed)[0] == "failed"
    assert leftovers(stack, failed) == []
    done = ended(stack, start(stack, data, "their-batch", 1, good), machine="theirs")
    assert done["status"] == "SUCCEEDED"
    entered = _entered(stack.aws("stepfunctions"), done["executionArn"])
    assert entered.index("ReadLoadResult") < entered.index("Approve") < entered.index("Commit")
    assert [message["environment"] for message in mailbox.of("their-batch")] == ["theirs"]
    jobs = stack.aws("batch").list_jobs(
        jobQueue=stack.environment["RATESFLOW_JOB_QUEUE"],
        filters=[{"name": "JOB_NAME", "values": ["load-their-batch"]}],
    )["jobSummaryList"]
    (job,) = stack.aws("batch").describe_jobs(jobs=[job["jobId"] for job in jobs])["jobs"]
    assert "their-load" in job["jobDefinition"]
