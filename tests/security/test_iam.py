"""Every part acts under its own role, held to the policies that Terraform makes: what they allow is what is needed."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ratesflow.local.aws.iam.policy import Ask, decide, parse
from ratesflow.local.event_source_mapping import WAIT_SECONDS
from ratesflow.local.names import ACCOUNT, PREFIX, REGION, arn
from ratesflow.local.roles import FILE, roles
from tests.loader.samples import csv, rows
from tests.local.conftest import Stack, new_stack
from tests.local.process_control import ended, send, start, state, wait_for
from tests.security import iam_story
from tests.security.iam_figure import Figure, acting, calls_of, figure


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of these tests' own, whose calls are counted."""
    found = new_stack(tmp_path_factory.mktemp("iam") / "home")
    found.up()
    yield found
    found.run("down")


@pytest.fixture(scope="module")
def calls(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What was called in a stack that has lived through everything."""
    iam_story.tell(stack, tmp_path_factory.mktemp("story"))
    return calls_of(stack)


@pytest.fixture(scope="module")
def found(calls: list[dict[str, Any]]) -> Figure:
    """The figure of that."""
    return figure(calls)


@pytest.mark.timeout(300)
def test_no_call_is_denied(found: Figure) -> None:
    """Whatever a part does in its life, its policies allow."""
    print(f"\n{found}")
    assert found.denied == []
    assert found.allowed > 500


def test_nothing_is_allowed_that_is_never_used(found: Figure) -> None:
    """Each action of each statement is used, or stands on a short list with its reason; nothing else stands there."""
    assert sorted(found.never_used) == []
    assert sorted(found.idle) == []


def test_the_documents_have_the_figure(found: Figure) -> None:
    """SECURITY.md has every line but those that count calls, which differ from run to run."""
    text = (FILE.parents[2] / "SECURITY.md").read_text(encoding="utf-8")
    lines = [line for line in str(found).splitlines() if not line.startswith(("| calls made", "| calls allowed"))]
    assert [line for line in lines if line not in text] == []


def test_every_part_calls_under_its_own_role(calls: list[dict[str, Any]]) -> None:
    """Each role that may do something has made calls, and nobody else; the API, which may do nothing, makes none."""
    assert sorted({call["role"].removeprefix("ratesflow-") for call in calls}) == acting()


@pytest.mark.parametrize("part", acting())
def test_every_statement_is_needed(stack: Stack, calls: list[dict[str, Any]], part: str) -> None:
    """A statement taken out of a role's policy denies calls that the role made; with all of them none is."""
    asked = [(Ask(call["action"], call["resource"], call["context"]), call["sids"]) for call in calls
             if call["role"] == f"ratesflow-{part}"]  # fmt: skip
    (statements,) = [parse(json.dumps(document)) for document in policies(stack, part).values()]
    assert all(decide(statements, ask).allowed for ask, _ in asked)
    used = {sid for _, sids in asked for sid in sids}
    for sid in used:
        without = [statement for statement in statements if statement.sid != sid]
        assert any(not decide(without, ask).allowed for ask, _ in asked), f"{part} can do without {sid}"
    unused = {statement.sid for statement in statements} - used
    assert {right[1] for right in figure(calls).excepted if right[0] == part} >= unused


SERVICES = {"task-": "ecs-tasks", "start-": "ecs-tasks", "api": "ecs-tasks", "trigger": "lambda",
            "state-machine": "states", "scheduler": "scheduler"}  # fmt: skip


def test_each_role_is_assumed_by_its_service_alone() -> None:
    """What a service asks when it takes on a role holds in this account; each role trusts one service and no other."""
    machine = arn("states", "stateMachine:ratesflow-ingestion")
    asked = Ask("sts:AssumeRole", "*", {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": machine})
    for part, role in roles().items():
        services = [service for start, service in SERVICES.items() if part.startswith(start)]
        if services:
            text = json.dumps(role["trust"]).replace("${account}", ACCOUNT).replace("${region}", REGION)
            (trust,) = json.loads(text.replace("${prefix}", PREFIX))["Statement"]
            assert trust.pop("Principal") == {"Service": f"{services[0]}.amazonaws.com"}, part
            assert decide(parse(json.dumps({"Statement": [trust | {"Resource": "*"}]})), asked).allowed, part


def policies(stack: Stack, part: str) -> dict[str, dict[str, Any]]:
    """Return the policies of a part's role by their names."""
    iam, role = stack.aws("iam"), f"ratesflow-{part}"
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    return {name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names}


@contextmanager
def without(stack: Stack, part: str, sid: str) -> Iterator[None]:
    """Take a statement out of a part's policy for a while."""
    iam, ((name, whole),) = stack.aws("iam"), policies(stack, part).items()
    left = [statement for statement in whole["Statement"] if statement["Sid"] != sid]
    assert len(left) < len(whole["Statement"])
    put = {"RoleName": f"ratesflow-{part}", "PolicyName": name}
    iam.put_role_policy(**put, PolicyDocument=json.dumps({**whole, "Statement": left}))
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
def test_a_task_that_may_not_fails_its_batch(stack: Stack, part: str, sid: str, action: str) -> None:
    """The execution fails with S3's own words, which name role, action and object; the ledger says the same."""
    name = f"denied-{part}-{sid}".lower()
    with without(stack, part, sid):
        start(stack, csv(rows(20, seed=970)), name, 1, gone=sid == "Missing")
        cause = ended(stack, name)["cause"]
    assert f"assumed-role/ratesflow-{part}/ratesflow is not authorized to perform: {action}" in cause
    assert "with exit code 64" in cause
    assert state(stack, name) == ("failed", cause)


@pytest.mark.parametrize("part", ["reference", "ledger", "migrate", "gc", "compact", "undo", "commit", "discard"])
def test_a_task_without_its_secret_does_not_begin(stack: Stack, part: str) -> None:
    """The task fails at its first attempt, and its log says what its role may not do."""
    batch, parameters = stack.aws("batch"), {"run": f"denied-{part}", "batch": "none", "ports": "p", "regions": "r"}
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
    said = "\n".join(line["message"] for line in lines)
    assert f"ratesflow-task-{part}/ratesflow is not authorized to perform: secretsmanager:GetSecretValue" in said


def _over(batch: Any, job: str) -> Any:
    (found,) = batch.describe_jobs(jobs=[job])["jobs"]
    return found if found["status"] in ("SUCCEEDED", "FAILED") else None


def test_a_state_machine_that_may_not_submit_fails(stack: Stack) -> None:
    """The execution ends FAILED, and its cause names what the state machine may not do, and to what."""
    with without(stack, "state-machine", "Submit"):
        start(stack, csv(rows(20, seed=971)), "denied-submit", 1)
        found = ended(stack, "denied-submit")
    assert found["status"] == "FAILED"
    assert "Batch.AccessDeniedException" in found["cause"]
    history = stack.aws("stepfunctions").get_execution_history(executionArn=found["executionArn"])["events"]
    why = [event["taskFailedEventDetails"]["cause"] for event in history if "taskFailedEventDetails" in event]
    assert "ratesflow-state-machine/ratesflow is not authorized to perform: batch:SubmitJob" in why[0]


def test_a_trigger_that_may_not_start_loses_nothing(stack: Stack, tmp_path: Path) -> None:
    """The event goes back to the queue each time; once the trigger may start executions, it does."""
    arrivals = stack.environment["RATESFLOW_QUEUE_URL"]
    stack.aws("sqs").set_queue_attributes(QueueUrl=arrivals, Attributes={"VisibilityTimeout": "1"})
    time.sleep(WAIT_SECONDS + 0.2)  # a poll that is under way has the old one
    with without(stack, "trigger", "Start"):
        name = send(stack, tmp_path, csv(rows(20, seed=972)), "denied-start")
        wait_for(lambda: [call for call in figure(calls_of(stack)).denied if call["action"] == "states:StartExecution"])
        assert stack.execution(name) is None
    assert ended(stack, name)["status"] == "SUCCEEDED"
    stack.aws("sqs").set_queue_attributes(QueueUrl=arrivals, Attributes={"VisibilityTimeout": "60"})


def test_a_schedule_that_may_not_submit_starts_nothing(stack: Stack) -> None:
    """Nothing is submitted, and the call is counted as denied."""
    batch, queue = stack.aws("batch"), stack.environment["RATESFLOW_JOB_QUEUE"]
    wanted = {"jobQueue": queue, "filters": [{"name": "JOB_NAME", "values": ["compact-*"]}]}
    before = len(batch.list_jobs(**wanted)["jobSummaryList"])
    with without(stack, "scheduler", "Submit"):
        iam_story.tick(stack)
    assert len(batch.list_jobs(**wanted)["jobSummaryList"]) == before
    denied = {(call["role"], call["action"]) for call in figure(calls_of(stack)).denied}
    assert ("ratesflow-scheduler", "batch:SubmitJob") in denied


def test_an_operator_who_may_not_send_is_told(stack: Stack, tmp_path: Path) -> None:
    """`ratesflow ingest` fails, and says what the operator may not do."""
    (tmp_path / "mine.csv").write_bytes(csv(rows(20, seed=973)))
    with without(stack, "operator", "Send"):
        done = stack.run("ingest", str(tmp_path / "mine.csv"), code=1)
    assert "ratesflow-operator/ratesflow is not authorized to perform: s3:PutObject" in done.stdout + done.stderr


def test_the_laptop_itself_may_do_everything(stack: Stack) -> None:
    """The keys that `ratesflow env` prints are those of an administrator."""
    assert stack.environment["AWS_ACCESS_KEY_ID"] == "local"
    assert stack.aws("s3").list_buckets()["Buckets"]
