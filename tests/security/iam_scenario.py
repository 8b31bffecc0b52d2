"""A scenario in which every component does everything that it does in production, once."""

import json
import os
import signal
import subprocess
from pathlib import Path

from ratesflow.local.roles import role_arn
from ratesflow.local.scheduler import Schedule
from ratesflow.workflow.client.environment import NEEDED, find_environment, parameter_name
from ratesflow.workflow.client.run_task import run_task
from ratesflow.workflow.job_definitions import TASKS
from tests.loader.samples import csv, rows
from tests.local.conftest import RATESFLOW, Stack
from tests.local.process_control import ended, send, signal_to, start, tasks_of
from tests.local.signaller import Signaller
from tests.security.iam_figure import calls_of
from tests.waiting import wait_for

BAD = b"DEHAM,CNSGH,2026-01-01,abc\n"


def run(stack: Stack, folder: Path) -> None:
    """Run the whole scenario. Raises AssertionError if a step does not end as expected."""
    started = _start_executions(stack)
    good = _ingest(stack, folder)
    _stop_and_delete(stack, folder)
    _lose_event(stack, folder)
    for name, status in started.items():
        assert ended(stack, name)["status"] == status, name
    _query(stack, good)
    _maintain(stack, folder, good)
    _run_other_tasks(stack)


def _run_other_tasks(stack: Stack) -> None:
    """Run every task without required arguments that was not run before."""
    roles = {call["role"] for call in calls_of(stack)}
    for task in TASKS.values():
        if task.required == ("run_id",) and f"ratesflow-task-{task.name}" not in roles:
            run_task(find_environment(stack.home), task.name)


def _start_executions(stack: Stack) -> dict[str, str]:
    """Start executions that run in the background; return the expected status of each."""
    start(stack, csv(rows(3000, seed=950)), "in-shards", 2)
    start(stack, csv(rows(3000, seed=951)) + BAD, "in-shards-bad", 2)
    start(stack, csv(rows(30, seed=952)), "gone-in-shards", 2, gone=True)
    _start_unversioned(stack, "never-uploaded", None)
    queue = stack.environment["RATESFLOW_QUEUE_URL"]
    stack.aws("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps({"source": "nobody"}))
    _read_missing_result(stack)
    _read_missing_objects(stack)
    bad = {"gone-in-shards": "FAILED", "never-uploaded": "FAILED"}
    return {"in-shards": "SUCCEEDED", "in-shards-bad": "SUCCEEDED", **bad}


def _start_unversioned(stack: Stack, name: str, data: bytes | None) -> None:
    """Start an execution with version `null`, that is, for an object without versioning."""
    bucket, key = stack.environment["RATESFLOW_BUCKET"], f"incoming/_temporary/{name}.csv"
    if data is not None:
        stack.aws("s3").put_object(Bucket=bucket, Key=key, Body=data)
    event = {"bucket": bucket, "key": key, "version": "null", "etag": "", "bytes": len(data or b""), "shards": 1}
    machine = stack.environment["RATESFLOW_STATE_MACHINE_ARN"]
    stack.aws("stepfunctions").start_execution(stateMachineArn=machine, name=name, input=json.dumps(event))


def _read_missing_result(stack: Stack) -> None:
    """Run the state that reads a result without a result, which must fail with NoSuchKey."""
    states = stack.aws("stepfunctions")
    ours = states.describe_state_machine(stateMachineArn=stack.environment["RATESFLOW_STATE_MACHINE_ARN"])
    read = json.loads(ours["definition"])["States"]["ReadValidateResult"]
    alone = {name: value for name, value in read.items() if name not in ("Next", "Catch", "Retry")} | {"End": True}
    definition = json.dumps({"StartAt": "Read", "States": {"Read": alone}})
    role = role_arn("state-machine")
    machine = states.create_state_machine(name="reader", definition=definition, roleArn=role)["stateMachineArn"]
    states.start_execution(stateMachineArn=machine, name="no-result", input="{}")
    assert "NoSuchKey" in ended(stack, "no-result", machine="reader")["error"]


def _ingest(stack: Stack, folder: Path) -> str:
    """Ingest a valid file twice and an invalid one; return the batch id of the first."""
    good, bad = folder / "good.csv", folder / "bad.csv"
    good.write_bytes(csv(rows(200, seed=953)))
    bad.write_bytes(csv(rows(20, seed=954)) + BAD)
    name = str(stack.ingest(good)["batch_id"])
    assert "duplicate" in stack.run("ingest", str(good), str(bad), code=None).stdout
    return name


def _stop_and_delete(stack: Stack, folder: Path) -> None:
    """Stop one execution by the command, which closes its batch, and one through AWS, which gc closes.

    Delete the objects of two more between validate and load.
    """
    s3, bucket = stack.aws("s3"), stack.environment["RATESFLOW_BUCKET"]
    with Signaller(stack, "load", "held", signal.SIGSTOP) as signaller:
        mine = send(stack, folder, csv(rows(50, seed=955)), "held-mine")
        theirs = send(stack, folder, csv(rows(50, seed=956)), "held-theirs")
        wait_for(lambda: len(signaller.signalled) == 2)
        stack.run("stop", mine)
        arn = stack.query("SELECT execution_arn FROM batches WHERE batch_id = %s", theirs)[0][0]
        stack.aws("stepfunctions").stop_execution(executionArn=arn)
        wait_for(lambda: not tasks_of(stack, "load", "held"))
        start(stack, csv(rows(50, seed=957)), "held-versioned", 1)
        _start_unversioned(stack, "held-unversioned", csv(rows(50, seed=958)))
        wait_for(lambda: len(signaller.signalled) == 4)
        key = "incoming/_temporary/held-versioned.csv"
        (version,) = s3.list_object_versions(Bucket=bucket, Prefix=key)["Versions"]
        s3.delete_object(Bucket=bucket, Key=key, VersionId=version["VersionId"])
        s3.delete_object(Bucket=bucket, Key="incoming/_temporary/held-unversioned.csv")
    signal_to(tasks_of(stack, "load", "held"), signal.SIGCONT)
    for name in ("held-versioned", "held-unversioned"):
        assert ended(stack, name)["status"] == "FAILED", name
    assert "1 closed" in stack.run("gc").stdout


def _lose_event(stack: Stack, folder: Path) -> None:
    """Lose the event of an upload, which the scheduled gc passes to the trigger again."""
    events, batch = stack.aws("events"), stack.aws("batch")
    (target,) = events.list_targets_by_rule(Rule="ratesflow-arrivals")["Targets"]
    events.remove_targets(Rule="ratesflow-arrivals", Ids=[target["Id"]])
    lost = send(stack, folder, csv(rows(50, seed=959)), "lost")
    events.put_targets(Rule="ratesflow-arrivals", Targets=[target])
    definition = batch.describe_job_definitions(jobDefinitionName="ratesflow-gc", status="ACTIVE")["jobDefinitions"][-1]
    container = definition["containerProperties"]
    minutes = {"name": "RATESFLOW_RETRIGGER_AFTER_MINUTES", "value": "0"}
    batch.register_job_definition(
        **{each: definition[each] for each in ("jobDefinitionName", "type", "parameters", "retryStrategy", "timeout")},
        containerProperties=container | {"environment": [*container["environment"], minutes]},
    )
    tick(stack)
    assert ended(stack, lost)["status"] == "SUCCEEDED"


def tick(stack: Stack) -> None:
    """Run the schedule once."""
    schedule = Schedule(stack.environment)
    schedule.make_due()
    schedule.tick()


def _read_missing_objects(stack: Stack) -> None:
    """Run discard and reference load with missing objects, which must not be AccessDenied."""
    batch, bucket = stack.aws("batch"), stack.environment["RATESFLOW_BUCKET"]
    nobody = {"bucket": bucket, "key": "incoming/nobody.csv", "batch_id": "nobody", "execution": "nobody"}
    nowhere = {"run_id": "nowhere", "ports": "reference/nowhere.csv", "regions": "reference/nowhere.csv"}
    for task, parameters in (("discard", nobody), ("reference", nowhere)):
        batch.submit_job(
            jobName=parameters.get("run_id", "nobody"),
            jobQueue=stack.environment["RATESFLOW_JOB_QUEUE"],
            jobDefinition=f"ratesflow-{task}",
            parameters=parameters,
        )


def _query(stack: Stack, name: str) -> None:
    """Run the query commands, one of them with `--env` as on AWS."""
    for command in (["show", name], ["graph", name], ["batches"], ["show", "gone-in-shards"]):
        stack.run(*command)
    for variable in NEEDED:
        parameter = {"Name": parameter_name(variable, "local"), "Value": stack.environment[variable]}
        stack.aws("ssm").put_parameter(**parameter, Type="String", Overwrite=True)
    keys = {"AWS_ACCESS_KEY_ID": stack.environment["RATESFLOW_OPERATOR_KEY"], "AWS_SECRET_ACCESS_KEY": "any"}
    names = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")
    environment = {**os.environ, **keys, **{each: stack.environment[each] for each in names}}
    subprocess.run([RATESFLOW, "--env", "local", "executions"], env=environment, check=True, capture_output=True)


def _maintain(stack: Stack, folder: Path, name: str) -> None:
    """Run start, undo, compact, reference load, migrate and redrive."""
    bucket, key = stack.environment["RATESFLOW_BUCKET"], "incoming/_temporary/by-hand.csv"
    stack.aws("s3").put_object(Bucket=bucket, Key=key, Body=csv(rows(20, seed=961)))
    stack.run("start", f"s3://{bucket}/{key}")
    stack.run("undo", name)
    stack.run("compact")
    (folder / "ports.csv").write_text("code,name,parent_slug\n")
    (folder / "regions.csv").write_text("slug,name,parent_slug\n")
    stack.run("reference", "load", str(folder / "ports.csv"), str(folder / "regions.csv"), code=None)
    stack.run("migrate")
    _redrive(stack, folder)


def _redrive(stack: Stack, folder: Path) -> None:
    bucket, key = stack.environment["RATESFLOW_BUCKET"], "incoming/again.csv"
    put = stack.aws("s3").put_object(Bucket=bucket, Key=key, Body=csv(rows(20, seed=960)))
    found = {"key": key, "size": 1, "etag": put["ETag"].strip('"'), "version-id": put["VersionId"]}
    event = {"source": "aws.s3", "detail-type": "Object Created", "detail": {"bucket": {"name": bucket}}}
    event["detail"]["object"] = found  # type: ignore[index]
    dead = stack.environment["RATESFLOW_DEAD_LETTER_QUEUE_URL"]
    stack.aws("sqs").send_message(QueueUrl=dead, MessageBody=json.dumps(event))
    assert "started" in stack.run("redrive", code=None).stdout
