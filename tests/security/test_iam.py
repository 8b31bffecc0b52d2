"""Every component uses its own role with Terraform's policies, which allow exactly what is needed."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ratesflow.local.aws.iam.policy import Permission, decide, parse
from ratesflow.local.event_source_mapping import WAIT_SECONDS
from ratesflow.local.names import ACCOUNT, PREFIX, REGION, arn
from ratesflow.local.roles import FILE, roles
from tests.loader.samples import csv, rows
from tests.local.conftest import Stack, new_stack
from tests.local.process_control import ended, send, start, state
from tests.security import iam_scenario
from tests.security.iam_figure import Figure, acting, calls_of, figure
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack for these tests, whose calls are recorded."""
    found = new_stack(tmp_path_factory.mktemp("iam") / "home")
    found.up()
    yield found
    found.run("down")


@pytest.fixture(scope="module")
def calls(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The recorded calls of the whole scenario."""
    iam_scenario.run(stack, tmp_path_factory.mktemp("story"))
    return calls_of(stack)


@pytest.fixture(scope="module")
def found(calls: list[dict[str, Any]]) -> Figure:
    """The figure of these calls."""
    return figure(calls)


@pytest.mark.timeout(300)
def test_no_call_is_denied(found: Figure) -> None:
    """The policies allow every call of the scenario."""
    print(f"\n{found}")
    assert found.denied == []
    assert found.allowed > 500


def test_every_permission_is_used_or_listed(found: Figure) -> None:
    """Each action of each statement is used, or listed with a reason; no list entry is obsolete."""
    assert sorted(found.never_used) == []
    assert sorted(found.obsolete) == []


def test_documents_have_the_figure(found: Figure) -> None:
    """SECURITY.md has every line of the figure except the counts of calls, which vary."""
    text = (FILE.parents[2] / "SECURITY.md").read_text(encoding="utf-8")
    lines = [line for line in str(found).splitlines() if not line.startswith(("| calls made", "| calls allowed"))]
    assert [line for line in lines if line not in text] == []


def test_every_component_uses_its_own_role(calls: list[dict[str, Any]]) -> None:
    """Exactly the roles with rights have made calls."""
    assert sorted({call["role"].removeprefix("ratesflow-") for call in calls}) == acting()


@pytest.mark.parametrize("part", acting())
def test_every_statement_is_needed(stack: Stack, calls: list[dict[str, Any]], part: str) -> None:
    """Without any one statement of a policy, calls of its role would be denied; with all statements none is."""
    requested = [(Permission(call["action"], call["resource"], call["context"]), call["sids"]) for call in calls
             if call["role"] == f"ratesflow-{part}"]  # fmt: skip
    (statements,) = [parse(json.dumps(document)) for document in policies(stack, part).values()]
    assert all(decide(statements, permission).allowed for permission, _ in requested)
    used = {sid for _, sids in requested for sid in sids}
    for sid in used:
        without = [statement for statement in statements if statement.sid != sid]
        assert any(not decide(without, permission).allowed for permission, _ in requested), (
            f"{part} does not need {sid}"
        )
    unused = {statement.sid for statement in statements} - used
    assert {right[1] for right in figure(calls).excepted if right[0] == part} >= unused


SERVICES = {"task-": "ecs-tasks", "start-": "ecs-tasks", "api": "ecs-tasks", "trigger": "lambda",
            "state-machine": "states", "scheduler": "scheduler"}  # fmt: skip


def test_each_role_is_assumed_only_by_its_service() -> None:
    """Each role trusts only its service, with conditions that hold in this account."""
    machine = arn("states", "stateMachine:ratesflow-ingestion")
    requested = Permission("sts:AssumeRole", "*", {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": machine})
    for part, role in roles().items():
        services = [service for start, service in SERVICES.items() if part.startswith(start)]
        if services:
            text = json.dumps(role["trust"]).replace("${account}", ACCOUNT).replace("${region}", REGION)
            (trust,) = json.loads(text.replace("${prefix}", PREFIX))["Statement"]
            assert trust.pop("Principal") == {"Service": f"{services[0]}.amazonaws.com"}, part
            assert decide(parse(json.dumps({"Statement": [trust | {"Resource": "*"}]})), requested).allowed, part


def policies(stack: Stack, part: str) -> dict[str, dict[str, Any]]:
    """Return the policies of a component's role by name."""
    iam, role = stack.aws("iam"), f"ratesflow-{part}"
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    return {name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names}


@contextmanager
def without(stack: Stack, part: str, sid: str) -> Iterator[None]:
    """Remove a statement from a component's policy within the block."""
    iam, ((name, whole),) = stack.aws("iam"), policies(stack, part).items()
    remaining = [statement for statement in whole["Statement"] if statement["Sid"] != sid]
    assert len(remaining) < len(whole["Statement"])
    put = {"RoleName": f"ratesflow-{part}", "PolicyName": name}
    iam.put_role_policy(**put, PolicyDocument=json.dumps({**whole, "Statement": remaining}))
    try:
        yield
    finally:
        iam.put_role_policy(**put, PolicyDocument=json.dumps(whole))


@pytest.mark.parametrize(
    ("part", "sid", "action"),
    [
        ("task-validate", "ReadBatch", "s3:GetObjectVersion"),
        ("task-load", "ReadResults", "s3:GetObject"),
        ("task-validate", "Missing", "s3:ListBucketVersions"),
    ],
)
def test_denied_task_fails_its_batch(stack: Stack, part: str, sid: str, action: str) -> None:
    """The execution fails with S3's message, which names role, action and object; the ledger has the same message."""
    name = f"denied-{part}-{sid}".lower()
    with without(stack, part, sid):
        start(stack, csv(rows(20, seed=970)), name, 1, gone=sid == "Missing")
        cause = ended(stack, name)["cause"]
    assert f"assumed-role/ratesflow-{part}/ratesflow is not authorized to perform: {action}" in cause
    assert "with exit code 64" in cause
    assert state(stack, name) == ("failed", cause)


@pytest.mark.parametrize("part", ["reference", "ledger", "migrate", "gc", "compact", "undo", "commit", "discard"])
def test_task_without_its_secret_fails(stack: Stack, part: str) -> None:
    """The task fails at the first attempt, and its log names the denied action."""
    batch, parameters = stack.aws("batch"), {"run_id": f"denied-{part}", "batch": "none", "ports": "p", "regions": "r"}
    if part in ("commit", "discard"):
        parameters = {"bucket": "b", "key": "k", "batch_id": "denied", "execution": "e"}
    wanted = {"jobQueue": stack.environment["RATESFLOW_JOB_QUEUE"], "jobDefinition": f"ratesflow-{part}"}
    with without(stack, f"task-{part}", "Secret"):
        job = batch.submit_job(jobName=f"denied-{part}", parameters=parameters, **wanted)["jobId"]
        done = wait_for(lambda: _over(batch, job))
    assert (done["status"], len(done["attempts"])) == ("FAILED", 1)
    lines = stack.aws("logs").get_log_events(
        logGroupName="/aws/batch/job", logStreamName=done["container"]["logStreamName"]
    )["events"]
    log = "\n".join(line["message"] for line in lines)
    assert f"ratesflow-task-{part}/ratesflow is not authorized to perform: secretsmanager:GetSecretValue" in log


def _over(batch: Any, job: str) -> Any:
    (found,) = batch.describe_jobs(jobs=[job])["jobs"]
    return found if found["status"] in ("SUCCEEDED", "FAILED") else None


def test_execution_fails_if_submitting_is_denied(stack: Stack) -> None:
    """The execution fails, and its history names the denied action."""
    with without(stack, "state-machine", "Submit"):
        start(stack, csv(rows(20, seed=971)), "denied-submit", 1)
        found = ended(stack, "denied-submit")
    assert found["status"] == "FAILED"
    assert "Batch.AccessDeniedException" in found["cause"]
    history = stack.aws("stepfunctions").get_execution_history(executionArn=found["executionArn"])["events"]
    why = [event["taskFailedEventDetails"]["cause"] for event in history if "taskFailedEventDetails" in event]
    assert "ratesflow-state-machine/ratesflow is not authorized to perform: batch:SubmitJob" in why[0]


def test_denied_trigger_loses_no_event(stack: Stack, tmp_path: Path) -> None:
    """While the trigger is denied, the event stays in the queue; afterwards it starts the execution."""
    arrivals = stack.environment["RATESFLOW_QUEUE_URL"]
    stack.aws("sqs").set_queue_attributes(QueueUrl=arrivals, Attributes={"VisibilityTimeout": "1"})
    time.sleep(WAIT_SECONDS + 0.2)  # a running poll has the old timeout
    with without(stack, "trigger", "Start"):
        name = send(stack, tmp_path, csv(rows(20, seed=972)), "denied-start")
        wait_for(lambda: [call for call in figure(calls_of(stack)).denied if call["action"] == "states:StartExecution"])
        assert stack.execution(name) is None
    assert ended(stack, name)["status"] == "SUCCEEDED"
    stack.aws("sqs").set_queue_attributes(QueueUrl=arrivals, Attributes={"VisibilityTimeout": "60"})


def test_denied_schedule_submits_nothing(stack: Stack) -> None:
    """A denied schedule submits nothing, and the call is recorded as denied."""
    batch, queue = stack.aws("batch"), stack.environment["RATESFLOW_JOB_QUEUE"]
    wanted = {"jobQueue": queue, "filters": [{"name": "JOB_NAME", "values": ["compact-*"]}]}
    before = len(batch.list_jobs(**wanted)["jobSummaryList"])
    with without(stack, "scheduler", "Submit"):
        iam_scenario.tick(stack)
    assert len(batch.list_jobs(**wanted)["jobSummaryList"]) == before
    denied = {(call["role"], call["action"]) for call in figure(calls_of(stack)).denied}
    assert ("ratesflow-scheduler", "batch:SubmitJob") in denied


def test_denied_upload_is_reported(stack: Stack, tmp_path: Path) -> None:
    """`ratesflow ingest` fails and prints the denied action."""
    (tmp_path / "mine.csv").write_bytes(csv(rows(20, seed=973)))
    with without(stack, "operator", "Send"):
        done = stack.run("ingest", str(tmp_path / "mine.csv"), code=1)
    assert "ratesflow-operator/ratesflow is not authorized to perform: s3:PutObject" in done.stdout + done.stderr


def test_developer_keys_are_administrator_keys(stack: Stack) -> None:
    """The keys that `ratesflow env` prints have administrator rights."""
    assert stack.environment["AWS_ACCESS_KEY_ID"] == "local"
    assert stack.aws("s3").list_buckets()["Buckets"]
