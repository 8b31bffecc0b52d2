"""Every way that a batch can end, each seen in a real execution: status, ledger, notification, and what is left."""

import gzip
import json
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ratesflow.workflow.trigger import execution_name
from tests.loader.samples import csv, rows
from tests.local.conftest import Stack
from tests.local.process_control import (
    Mailbox,
    Signaller,
    ended,
    left,
    send,
    signal_to,
    start,
    state,
    tasks_of,
    wait_for,
)


@pytest.fixture(scope="module")
def mailbox(stack: Stack) -> Mailbox:
    """The notifications of the shared stack."""
    return Mailbox(stack)


def test_a_file_that_must_be_restored_first(stack: Stack, mailbox: Mailbox) -> None:
    """A file in GLACIER fails at its first attempt, and the ledger, the notification and `show` say what helps."""
    bucket, key = stack.environment["RATESFLOW_BUCKET"], "incoming/frozen.csv"
    body = csv(rows(10, seed=809))
    put = stack.aws("s3").put_object(Bucket=bucket, Key=key, Body=body, StorageClass="GLACIER")
    name = execution_name(bucket, key, put["VersionId"])
    words = f"cannot read s3://{bucket}/{key}: the object is in storage class GLACIER: restore it first, or send it"
    cause = ended(stack, name)["cause"]
    assert cause.startswith("validate failed after 1 attempt with exit code 65")
    assert words in cause
    assert "<" not in cause
    assert state(stack, name) == ("failed", cause)
    assert [message["message"] for message in mailbox.of(name)] == [cause]
    assert words in stack.run("show", name).stdout


@pytest.mark.parametrize("task", ["validate", "load", "commit"])
def test_a_step_that_is_killed_at_every_attempt(stack: Stack, mailbox: Mailbox, tmp_path: Path, task: str) -> None:
    """The execution fails with the step and the exit code in words; nothing is left, and one notification says so."""
    with Signaller(stack, task, f"kill-{task}-", signal.SIGKILL) as hand:
        name = send(stack, tmp_path, csv(rows(500, seed=801)), f"kill-{task}")
        execution = ended(stack, name)
    assert len(hand.hit) == 3
    assert (execution["status"], execution["error"]) == ("FAILED", "BatchFailed")
    assert f"{task} failed after 3 attempts with exit code 137" in execution["cause"]
    assert state(stack, name) == ("failed", execution["cause"])
    assert left(stack, name) == []
    (message,) = mailbox.of(name)
    assert (message["outcome"], message["notification_id"]) == ("failed", f"{name}:failed")
    assert message["message"] == execution["cause"]


def test_what_is_gone_cannot_be_redone(stack: Stack) -> None:
    """For a batch whose version is gone `show` and `redo` both advise to ingest the file again."""
    name = start(stack, csv(rows(10, seed=800)), "gone-for-good", 1, gone=True)
    assert "is gone: send the file again" in ended(stack, name)["cause"]
    printed = stack.run("show", name).stdout
    assert "ratesflow redo" not in printed
    assert "its version is no longer in the bucket, so it cannot be redone" in printed
    assert "is no longer in the bucket: ingest the file again" in stack.run("redo", name, code=1).stderr


def test_the_same_prices_in_another_wrapping_are_said_everywhere(
    stack: Stack, mailbox: Mailbox, tmp_path: Path
) -> None:
    """A packed copy of a committed file is committed; outcome, ledger and notification say of which it is one."""
    plain, packed = tmp_path / "wrapped.csv", tmp_path / "wrapped-copy.csv.gz"
    plain.write_bytes(csv(rows(200, seed=820)))
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    first = stack.ingest(plain)["batch_id"]
    said = stack.run("ingest", str(packed)).stdout
    (message,) = re.findall(r"^  (the same prices as batch .*)$", said, re.MULTILINE)
    assert f"batch {first} (file incoming/wrapped.csv, committed on 20" in message
    (name,) = re.findall(r"wrapped-copy-[0-9a-f]{16}", said)
    assert state(stack, name) == ("committed", message)
    (told,) = wait_for(lambda: mailbox.of(name))
    assert (told["outcome"], told["message"]) == ("committed", message)


def test_a_discard_that_fails_is_left_to_gc(stack: Stack, mailbox: Mailbox, tmp_path: Path) -> None:
    """When even discard is killed the execution says so; gc then closes the batch, drops all of it and notifies."""
    with (
        Signaller(stack, "load", "no-discard-", signal.SIGKILL),
        Signaller(stack, "discard", "no-discard-", signal.SIGKILL),
    ):
        name = send(stack, tmp_path, csv(rows(500, seed=802)), "no-discard")
        execution = ended(stack, name)
    assert execution["status"] == "FAILED"
    assert "ratesflow gc" in execution["cause"]
    assert state(stack, name)[0] == "open"
    stack.run("gc")
    assert state(stack, name)[0] == "failed"
    assert left(stack, name) == []
    assert {message["notification_id"] for message in mailbox.of(name)} == {f"{name}:failed"}


def test_a_passing_fault_is_tried_again(stack: Stack, mailbox: Mailbox, tmp_path: Path) -> None:
    """SIGTERM, as when a spot machine is taken away, ends a load with code 75; the next attempt commits."""
    name = send(stack, tmp_path, csv(rows(300_000, seed=803)), "passing")
    at_work = "SELECT 1 FROM shards JOIN batches USING (batch_no) WHERE batch_id = %s AND task = 'load'"
    wait_for(lambda: stack.ask(at_work, name))
    signal_to(tasks_of(stack, "load", "passing-"), signal.SIGTERM)
    execution = ended(stack, name)
    assert execution["status"] == "SUCCEEDED"
    assert state(stack, name)[0] == "committed"
    batch = stack.aws("batch")
    jobs = batch.list_jobs(
        jobQueue=stack.environment["RATESFLOW_JOB_QUEUE"], filters=[{"name": "JOB_NAME", "values": [f"load-{name}"]}]
    )["jobSummaryList"]
    (job,) = batch.describe_jobs(jobs=[job["jobId"] for job in jobs])["jobs"]
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [75, 0]
    assert [message["outcome"] for message in mailbox.of(name)] == ["committed"]


def test_stop_discards_and_notifies_once(stack: Stack, mailbox: Mailbox, tmp_path: Path) -> None:
    """`ratesflow stop` ends an execution in the middle of a load; the batch is closed, and nothing of it is left."""
    with Signaller(stack, "load", "halted-", signal.SIGSTOP) as hand:
        name = send(stack, tmp_path, csv(rows(500, seed=804)), "halted")
        wait_for(lambda: hand.hit)
        stack.run("stop", name)
    assert ended(stack, name)["status"] == "ABORTED"
    found, message = state(stack, name)
    assert (found, "stopped" in message) == ("failed", True)
    wait_for(lambda: left(stack, name) == [])
    stack.run("gc")
    (notification,) = mailbox.of(name)
    assert notification["notification_id"] == f"{name}:failed"


def test_an_execution_that_others_stopped_is_closed_by_gc(stack: Stack, mailbox: Mailbox, tmp_path: Path) -> None:
    """After StopExecution with words of its own the ledger says open until gc runs, which repeats the words."""
    with Signaller(stack, "commit", "abandoned-", signal.SIGSTOP) as hand:
        name = send(stack, tmp_path, csv(rows(500, seed=805)), "abandoned")
        wait_for(lambda: hand.hit)
        arn = stack.ask("SELECT execution_arn FROM batches WHERE batch_id = %s", name)[0][0]
        stack.aws("stepfunctions").stop_execution(executionArn=arn, error="Tired", cause="of waiting")
        ended(stack, name)
    assert state(stack, name)[0] == "open"
    stack.run("gc")
    assert state(stack, name) == ("failed", "the execution was stopped: Tired: of waiting")
    wait_for(lambda: left(stack, name) == [])
    assert [message["outcome"] for message in mailbox.of(name)] == ["failed"]


def test_two_that_load_the_same_bytes_commit_once(stack: Stack, mailbox: Mailbox, tmp_path: Path) -> None:
    """Both are validated and loaded before either commits: one is committed, the other a duplicate, by its commit."""
    data = csv(rows(700, seed=806))
    with Signaller(stack, "load", "twin-", signal.SIGSTOP) as hand:
        names = [send(stack, tmp_path, data, f"twin-{letter}") for letter in "ab"]
        wait_for(lambda: len(hand.hit) == 2)
    signal_to(tasks_of(stack, "load", "twin-"), signal.SIGCONT)
    assert {ended(stack, name)["status"] for name in names} == {"SUCCEEDED"}
    assert sorted(state(stack, name)[0] for name in names) == ["committed", "duplicate"]
    (loser,) = [name for name in names if state(stack, name)[0] == "duplicate"]
    assert left(stack, loser) == []
    assert [message["outcome"] for message in mailbox.of(loser)] == ["duplicate"]
    assert stack.ask(
        "SELECT count(*) FROM committed_prices JOIN batches USING (batch_no) WHERE batch_id = ANY (%s)", names
    ) == [(700,)]


def test_twenty_deliveries_of_one_event_start_one_execution(stack: Stack, tmp_path: Path) -> None:
    """The event of one upload, twenty times and in parallel, is one execution and one commit."""
    name = send(stack, tmp_path, csv(rows(300, seed=807)), "twenty")
    bucket = stack.environment["RATESFLOW_BUCKET"]
    (version,) = stack.aws("s3").list_object_versions(Bucket=bucket, Prefix="incoming/twenty.csv")["Versions"]
    found = {"key": version["Key"], "size": version["Size"], "etag": version["ETag"].strip('"')}
    detail = {"bucket": {"name": bucket}, "object": {**found, "version-id": version["VersionId"]}}
    event = json.dumps({"source": "aws.s3", "detail-type": "Object Created", "detail": detail})
    sqs, queue = stack.aws("sqs"), stack.environment["RATESFLOW_QUEUE_URL"]
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: sqs.send_message(QueueUrl=queue, MessageBody=event), range(20)))
    assert ended(stack, name)["status"] == "SUCCEEDED"
    wait_for(lambda: _waiting(stack, queue) == 0)
    executions = stack.aws("stepfunctions").list_executions(
        stateMachineArn=stack.environment["RATESFLOW_STATE_MACHINE_ARN"], maxResults=1000
    )["executions"]
    assert [each["name"] for each in executions].count(name) == 1
    assert stack.ask("SELECT count(*) FROM batches WHERE key = 'incoming/twenty.csv'") == [(1,)]


def _waiting(stack: Stack, queue: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = stack.aws("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return sum(int(value) for value in found.values())


def test_poison_goes_to_the_dead_letters_with_its_reason(stack: Stack) -> None:
    """What is no event is set aside with the reason; `redrive` tells what still cannot be handled."""
    sqs, dead = stack.aws("sqs"), stack.environment["RATESFLOW_DEAD_LETTER_QUEUE_URL"]
    sqs.send_message(QueueUrl=stack.environment["RATESFLOW_QUEUE_URL"], MessageBody="no event")
    (message,) = wait_for(
        lambda: sqs.receive_message(QueueUrl=dead, MessageAttributeNames=["All"], VisibilityTimeout=0).get("Messages")
    )
    assert "not JSON" in message["MessageAttributes"]["reason"]["StringValue"]
    told = stack.run("redrive", code=1)
    assert "not JSON" in told.stdout + told.stderr
    sqs.purge_queue(QueueUrl=dead)


BIG = csv(rows(700_000, seed=808, lanes=100))  # three parts of 8 MiB


@pytest.mark.parametrize("shards", [2, 4, 16])
def test_an_array_whose_child_is_killed_once_commits_every_row_once(
    stack: Stack, mailbox: Mailbox, shards: int
) -> None:
    """Of 2, 4 and 16 children one is killed and tried again; digest, rows and report are those of the whole file."""
    name = f"array-{shards}"
    data = BIG if shards == 2 else csv(rows(5000, seed=810 + shards))
    with Signaller(stack, "load", name, signal.SIGKILL, times=1) as hand:
        start(stack, data, name, shards)
        execution = ended(stack, name)
    assert len(hand.hit) == 1
    assert execution["status"] == "SUCCEEDED", execution
    ((number, count),) = stack.ask("SELECT batch_no, rows FROM batches WHERE batch_id = %s", name)
    assert count == data.count(b"\n") - 1
    assert stack.ask("SELECT count(*) FROM prices WHERE batch_no = %s", number) == [(count,)]
    assert json.loads(execution["output"])["rows"] == count
    assert [message["outcome"] for message in mailbox.of(name)] == ["committed"]


def test_an_array_whose_child_fails_is_discarded(stack: Stack, mailbox: Mailbox) -> None:
    """One child that refuses its work fails the batch cleanly, at once, and the cause names the shard and why."""
    name = "array-fails"
    with Signaller(stack, "load", name, signal.SIGSTOP) as hand:
        start(stack, csv(rows(5000, seed=820)), name, 4)
        wait_for(lambda: hand.hit)
        bucket = stack.environment["RATESFLOW_BUCKET"]
        stack.aws("s3").put_object(Bucket=bucket, Key=f"results/{name}/rates/1.copy", Body=b"something else")
    wait_for(lambda: _awake(stack, name) or stack.execution(name)["status"] != "RUNNING")
    execution = ended(stack, name)
    assert execution["status"] == "FAILED"
    assert execution["cause"].startswith("load failed: shard 1: the rates in s3://")
    assert "unfinished shards, of 4: 1" in execution["cause"]
    assert state(stack, name)[0] == "failed"
    assert left(stack, name) == []
    assert [message["outcome"] for message in mailbox.of(name)] == ["failed"]


def _awake(stack: Stack, name: str) -> bool:
    """Wake every load of a batch; no further one is stopped any more."""
    signal_to(tasks_of(stack, "load", name), signal.SIGCONT)
    return False


def test_a_late_child_does_no_harm(stack: Stack) -> None:
    """A child that stood still while its execution was stopped and discarded wakes up, and changes nothing."""
    name = "array-late"
    with Signaller(stack, "load", name, signal.SIGSTOP, times=1) as hand:
        start(stack, csv(rows(5000, seed=821)), name, 2)
        wait_for(lambda: hand.hit)
        arn = stack.ask("SELECT execution_arn FROM batches WHERE batch_id = %s", name)[0][0]
        stack.aws("stepfunctions").stop_execution(executionArn=arn)
        stack.run("gc")
    signal_to(tasks_of(stack, "load", name), signal.SIGCONT)
    wait_for(lambda: not tasks_of(stack, "load", name))
    assert state(stack, name)[0] == "failed"
    assert left(stack, name) == []
