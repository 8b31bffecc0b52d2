"""Every way in which a batch can end, in real executions: status, ledger, notification, and leftovers."""

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
from tests.local.process_control import Mailbox, ended, leftovers, send, signal_to, start, state, tasks_of
from tests.local.signaller import Signaller
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def mailbox(stack: Stack) -> Mailbox:
    """The notifications of the shared stack."""
    return Mailbox(stack)


def test_object_in_glacier_fails_with_advice(stack: Stack, mailbox: Mailbox) -> None:
    """An object in GLACIER fails at the first attempt; ledger, notification and `show` have the remedy."""
    bucket, key = stack.environment["RATESFLOW_BUCKET"], "incoming/frozen.csv"
    body = csv(rows(10, seed=809))
    put = stack.aws("s3").put_object(Bucket=bucket, Key=key, Body=body, StorageClass="GLACIER")
    name = execution_name(bucket, key, put["VersionId"])
    advice = f"cannot read s3://{bucket}/{key}: the object is in storage class GLACIER: restore it first, or send it"
    cause = ended(stack, name)["cause"]
    assert cause.startswith("validate failed after 1 attempt with exit code 65")
    assert advice in cause
    assert "<" not in cause
    assert state(stack, name) == ("failed", cause)
    assert [message["message"] for message in mailbox.of(name)] == [cause]
    assert advice in stack.run("show", name).stdout


@pytest.mark.parametrize("task", ["validate", "load", "commit"])
def test_step_killed_at_every_attempt_fails_the_batch(
    stack: Stack, mailbox: Mailbox, tmp_path: Path, task: str
) -> None:
    """The execution fails with the step and its exit code as the cause, leaves nothing behind and notifies once."""
    with Signaller(stack, task, f"kill-{task}-", signal.SIGKILL) as signaller:
        name = send(stack, tmp_path, csv(rows(500, seed=801)), f"kill-{task}")
        execution = ended(stack, name)
    assert len(signaller.signalled) == 3
    assert (execution["status"], execution["error"]) == ("FAILED", "BatchFailed")
    assert f"{task} failed after 3 attempts with exit code 137" in execution["cause"]
    assert state(stack, name) == ("failed", execution["cause"])
    assert leftovers(stack, name) == []
    (message,) = mailbox.of(name)
    assert (message["outcome"], message["notification_id"]) == ("failed", f"{name}:failed")
    assert message["message"] == execution["cause"]


def test_batch_whose_object_is_gone_cannot_be_redone(stack: Stack) -> None:
    """If the object's version is gone, `show` and `redo` advise to ingest the file again."""
    name = start(stack, csv(rows(10, seed=800)), "gone-for-good", 1, gone=True)
    assert "is gone: send the file again" in ended(stack, name)["cause"]
    printed = stack.run("show", name).stdout
    assert "ratesflow redo" not in printed
    assert "its version is no longer in the bucket, so it cannot be redone" in printed
    assert "is no longer in the bucket: ingest the file again" in stack.run("redo", name, code=1).stderr


def test_recompressed_copy_is_committed_and_names_the_first_batch(
    stack: Stack, mailbox: Mailbox, tmp_path: Path
) -> None:
    """A compressed copy of a committed file is committed; output, ledger and notification name the first batch."""
    plain, compressed = tmp_path / "plain.csv", tmp_path / "compressed.csv.gz"
    plain.write_bytes(csv(rows(200, seed=820)))
    compressed.write_bytes(gzip.compress(plain.read_bytes()))
    first = stack.ingest(plain)["batch_id"]
    output = stack.run("ingest", str(compressed)).stdout
    (message,) = re.findall(r"^  (the same prices as batch .*)$", output, re.MULTILINE)
    assert f"batch {first} (file incoming/plain.csv, committed on 20" in message
    (name,) = re.findall(r"compressed-[0-9a-f]{16}", output)
    assert state(stack, name) == ("committed", message)
    (notification,) = wait_for(lambda: mailbox.of(name))
    assert (notification["outcome"], notification["message"]) == ("committed", message)


def test_gc_discards_when_discard_fails(stack: Stack, mailbox: Mailbox, tmp_path: Path) -> None:
    """If discard is killed, too, the cause advises to run gc, which closes the batch, deletes its data and notifies."""
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
    assert leftovers(stack, name) == []
    assert {message["notification_id"] for message in mailbox.of(name)} == {f"{name}:failed"}


def test_sigterm_of_a_load_is_retried(stack: Stack, mailbox: Mailbox, tmp_path: Path) -> None:
    """SIGTERM, as when a Spot instance is reclaimed, ends a load with exit code 75; the next attempt commits."""
    name = send(stack, tmp_path, csv(rows(300_000, seed=803)), "retried")
    loading = "SELECT 1 FROM shards JOIN batches USING (batch_no) WHERE batch_id = %s AND task = 'load'"
    wait_for(lambda: stack.query(loading, name))
    signal_to(tasks_of(stack, "load", "retried-"), signal.SIGTERM)
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


def test_stop_discards_the_batch_and_notifies_once(stack: Stack, mailbox: Mailbox, tmp_path: Path) -> None:
    """`ratesflow stop` ends an execution during a load; the batch is closed and leaves nothing behind."""
    with Signaller(stack, "load", "halted-", signal.SIGSTOP) as signaller:
        name = send(stack, tmp_path, csv(rows(500, seed=804)), "halted")
        wait_for(lambda: signaller.signalled)
        stack.run("stop", name)
    assert ended(stack, name)["status"] == "ABORTED"
    found, message = state(stack, name)
    assert (found, "stopped" in message) == ("failed", True)
    wait_for(lambda: leftovers(stack, name) == [])
    stack.run("gc")
    (notification,) = mailbox.of(name)
    assert notification["notification_id"] == f"{name}:failed"


def test_execution_stopped_through_aws_is_closed_by_gc(stack: Stack, mailbox: Mailbox, tmp_path: Path) -> None:
    """After StopExecution the batch is open until gc closes it, with the error and cause of the request."""
    with Signaller(stack, "commit", "abandoned-", signal.SIGSTOP) as signaller:
        name = send(stack, tmp_path, csv(rows(500, seed=805)), "abandoned")
        wait_for(lambda: signaller.signalled)
        arn = stack.query("SELECT execution_arn FROM batches WHERE batch_id = %s", name)[0][0]
        stack.aws("stepfunctions").stop_execution(executionArn=arn, error="Tired", cause="of waiting")
        ended(stack, name)
    assert state(stack, name)[0] == "open"
    stack.run("gc")
    assert state(stack, name) == ("failed", "the execution was stopped: Tired: of waiting")
    wait_for(lambda: leftovers(stack, name) == [])
    assert [message["outcome"] for message in mailbox.of(name)] == ["failed"]


def test_two_batches_with_the_same_bytes_commit_once(stack: Stack, mailbox: Mailbox, tmp_path: Path) -> None:
    """Of two batches that are loaded before either commits, one is committed and the other is a duplicate."""
    data = csv(rows(700, seed=806))
    with Signaller(stack, "load", "twin-", signal.SIGSTOP) as signaller:
        names = [send(stack, tmp_path, data, f"twin-{letter}") for letter in "ab"]
        wait_for(lambda: len(signaller.signalled) == 2)
    signal_to(tasks_of(stack, "load", "twin-"), signal.SIGCONT)
    assert {ended(stack, name)["status"] for name in names} == {"SUCCEEDED"}
    assert sorted(state(stack, name)[0] for name in names) == ["committed", "duplicate"]
    (loser,) = [name for name in names if state(stack, name)[0] == "duplicate"]
    assert leftovers(stack, loser) == []
    assert [message["outcome"] for message in mailbox.of(loser)] == ["duplicate"]
    assert stack.query(
        "SELECT count(*) FROM committed_prices JOIN batches USING (batch_no) WHERE batch_id = ANY (%s)", names
    ) == [(700,)]


def test_twenty_deliveries_of_one_event_start_one_execution(stack: Stack, tmp_path: Path) -> None:
    """Twenty parallel deliveries of one event start one execution, which commits once."""
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
    assert stack.query("SELECT count(*) FROM batches WHERE key = 'incoming/twenty.csv'") == [(1,)]


def _waiting(stack: Stack, queue: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = stack.aws("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return sum(int(value) for value in found.values())


def test_invalid_event_goes_to_the_dead_letter_queue_with_its_reason(stack: Stack) -> None:
    """A message that is not an event goes to the dead-letter queue; `redrive` reports that it is still invalid."""
    sqs, dead = stack.aws("sqs"), stack.environment["RATESFLOW_DEAD_LETTER_QUEUE_URL"]
    sqs.send_message(QueueUrl=stack.environment["RATESFLOW_QUEUE_URL"], MessageBody="not an event")
    (message,) = wait_for(
        lambda: sqs.receive_message(QueueUrl=dead, MessageAttributeNames=["All"], VisibilityTimeout=0).get("Messages")
    )
    assert "not JSON" in message["MessageAttributes"]["reason"]["StringValue"]
    result = stack.run("redrive", code=1)
    assert "not JSON" in result.stdout + result.stderr
    sqs.purge_queue(QueueUrl=dead)


BIG = csv(rows(700_000, seed=808, lanes=100))  # three parts of 8 MiB


@pytest.mark.parametrize("shards", [2, 4, 16])
def test_array_with_a_killed_child_commits_every_row_once(stack: Stack, mailbox: Mailbox, shards: int) -> None:
    """With 2, 4 and 16 shards, a killed child is retried, and digest, rows and report are those of the whole file."""
    name = f"array-{shards}"
    data = BIG if shards == 2 else csv(rows(5000, seed=810 + shards))
    with Signaller(stack, "load", name, signal.SIGKILL, times=1) as signaller:
        start(stack, data, name, shards)
        execution = ended(stack, name)
    assert len(signaller.signalled) == 1
    assert execution["status"] == "SUCCEEDED", execution
    ((number, count),) = stack.query("SELECT batch_no, rows FROM batches WHERE batch_id = %s", name)
    assert count == data.count(b"\n") - 1
    assert stack.query("SELECT count(*) FROM prices WHERE batch_no = %s", number) == [(count,)]
    assert json.loads(execution["output"])["rows"] == count
    assert [message["outcome"] for message in mailbox.of(name)] == ["committed"]


def test_array_with_a_failed_child_is_discarded(stack: Stack, mailbox: Mailbox) -> None:
    """A child that fails permanently fails the batch at once; the cause names the shard and the reason."""
    name = "array-fails"
    with Signaller(stack, "load", name, signal.SIGSTOP) as signaller:
        start(stack, csv(rows(5000, seed=820)), name, 4)
        wait_for(lambda: signaller.signalled)
        bucket = stack.environment["RATESFLOW_BUCKET"]
        stack.aws("s3").put_object(Bucket=bucket, Key=f"results/{name}/rates/1.copy", Body=b"something else")
    wait_for(lambda: _resume(stack, name) or stack.execution(name)["status"] != "RUNNING")
    execution = ended(stack, name)
    assert execution["status"] == "FAILED"
    assert execution["cause"].startswith("load failed: shard 1: the rates in s3://")
    assert "unfinished shards, of 4: 1" in execution["cause"]
    assert state(stack, name)[0] == "failed"
    assert leftovers(stack, name) == []
    assert [message["outcome"] for message in mailbox.of(name)] == ["failed"]


def _resume(stack: Stack, name: str) -> bool:
    """Resume every load of a batch; no further ones are suspended."""
    signal_to(tasks_of(stack, "load", name), signal.SIGCONT)
    return False


def test_suspended_child_changes_nothing_after_discard(stack: Stack) -> None:
    """A child that is suspended while its execution is stopped and discarded changes nothing when it resumes."""
    name = "array-late"
    with Signaller(stack, "load", name, signal.SIGSTOP, times=1) as signaller:
        start(stack, csv(rows(5000, seed=821)), name, 2)
        wait_for(lambda: signaller.signalled)
        arn = stack.query("SELECT execution_arn FROM batches WHERE batch_id = %s", name)[0][0]
        stack.aws("stepfunctions").stop_execution(executionArn=arn)
        stack.run("gc")
    signal_to(tasks_of(stack, "load", name), signal.SIGCONT)
    wait_for(lambda: not tasks_of(stack, "load", name))
    assert state(stack, name)[0] == "failed"
    assert leftovers(stack, name) == []
