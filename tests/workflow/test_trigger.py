"""The Lambda function: from an event to one execution, and never to two."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import example, given
from hypothesis import strategies as st
from moto import mock_aws

from ratesflow.workflow import trigger
from ratesflow.workflow.trigger import PoisonError, execution_name, handle, object_created, shard_count

NAMES = re.compile(r"[A-Za-z0-9_-]{1,60}")
FLOW = {"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}


def event(key="incoming/prices.csv", *, version="v1", size=100, **other):
    found = {"key": key, "size": size, "etag": "abc", "sequencer": "0061", "version-id": version, **other}
    return {
        "version": "0",
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": "inbox"}, "object": {k: v for k, v in found.items() if v is not None}},
    }


def message(body, message_id="m1"):
    return {"messageId": message_id, "body": body if isinstance(body, str) else json.dumps(body)}


@pytest.fixture
def stack(monkeypatch):
    """Step Functions and SQS in moto, with a state machine, a dead-letter queue, and the settings."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        stepfunctions = boto3.client("stepfunctions", "us-east-1")
        sqs = boto3.client("sqs", "us-east-1")
        machine = stepfunctions.create_state_machine(
            name="m", definition=json.dumps(FLOW), roleArn="arn:aws:iam::123456789012:role/r"
        )["stateMachineArn"]
        settings = {
            "RATESFLOW_STATE_MACHINE_ARN": machine,
            "RATESFLOW_DEAD_LETTER_QUEUE_URL": sqs.create_queue(QueueName="dead")["QueueUrl"],
        }
        yield stepfunctions, sqs, settings


def started(stepfunctions, settings):
    arn = settings["RATESFLOW_STATE_MACHINE_ARN"]
    return stepfunctions.list_executions(stateMachineArn=arn)["executions"]


def dead_letters(sqs, settings):
    url = settings["RATESFLOW_DEAD_LETTER_QUEUE_URL"]
    return sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"], MaxNumberOfMessages=10).get("Messages", [])


class Broken:
    """A client whose calls all fail with one error of AWS."""

    def __init__(self, code):
        self.code = code

    def __getattr__(self, name):
        def call(**_):
            raise ClientError({"Error": {"Code": self.code, "Message": "injected"}}, name)

        return call


@given(st.text(min_size=1), st.text(min_size=1, max_size=1024), st.text(min_size=1))
@example("b", "incoming/", "v")
@example("b", "incoming/prices 2021-01 (final).csv.gz", "null")
def test_names_are_valid_on_aws(bucket, key, version):
    """Every object has a valid, deterministic execution name with room for a redo's suffix."""
    name = execution_name(bucket, key, version)
    assert NAMES.fullmatch(name)
    assert name == execution_name(bucket, key, version)
    assert re.fullmatch(r"[0-9a-f]{16}", name[-16:])


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), min_size=2, max_size=2, unique=True))
def test_names_differ(objects):
    """Two objects, or two versions of one, have different names."""
    parts = [tuple(part.replace("\0", "") for part in found) for found in objects]
    if parts[0] != parts[1]:
        assert execution_name(*parts[0]) != execution_name(*parts[1])


def test_name_begins_with_the_file():
    """An execution's name starts with the file's name."""
    assert execution_name("b", "incoming/2021/prices-2021.01.csv.gz", "v").startswith("prices-2021-01-")
    assert execution_name("b", "incoming/価格.csv", "v").startswith("batch-")


def test_upload_starts_an_execution(stack):
    """An object under the inbox starts an execution with the object as its input."""
    stepfunctions, sqs, settings = stack
    assert handle({"Records": [message(event())]}, settings, stepfunctions, sqs) == {"batchItemFailures": []}
    (execution,) = started(stepfunctions, settings)
    assert execution["name"] == execution_name("inbox", "incoming/prices.csv", "v1")
    found = stepfunctions.describe_execution(executionArn=execution["executionArn"])
    assert json.loads(found["input"]) == {
        "bucket": "inbox",
        "key": "incoming/prices.csv",
        "version": "v1",
        "etag": "abc",
        "bytes": 100,
        "shards": 1,
    }


def test_twenty_deliveries_start_one_execution(stack):
    """The same event delivered twenty times, in parallel and in batches, starts one execution."""
    stepfunctions, sqs, settings = stack
    records = [message(event(), f"m{i}") for i in range(4)]
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: handle({"Records": records}, settings, stepfunctions, sqs), range(5)))
    assert answers == [{"batchItemFailures": []}] * 5
    assert len(started(stepfunctions, settings)) == 1


def test_new_version_starts_another_execution(stack):
    """A new version of the same key is another batch, in whichever order the two arrive."""
    stepfunctions, sqs, settings = stack
    records = [message(event(version=version), version) for version in ("v2", "v1")]
    handle({"Records": records}, settings, stepfunctions, sqs)
    assert len(started(stepfunctions, settings)) == 2


def test_unversioned_objects_are_distinguished_by_etag():
    """Without versions, the ETag takes the version's place in the name, and the version is `null`."""
    first = object_created(event(version=None, etag="one"), {})
    second = object_created(event(version=None, etag="two"), {})
    assert (first.version, second.version) == ("null", "null")
    assert first.execution_name != second.execution_name


def test_keys_are_never_unquoted():
    """A key that looks quoted is not unquoted, since EventBridge delivers keys unquoted."""
    assert object_created(event("incoming/a%20b+c.csv"), {}).key == "incoming/a%20b+c.csv"


@pytest.mark.parametrize("key", ["reports/x.csv", "incoming/", "incoming/folder/", "prices.csv"])
def test_objects_that_are_not_batches_are_skipped(stack, key):
    """Folders and objects outside the inbox start no execution and are not dead-lettered."""
    stepfunctions, sqs, settings = stack
    assert handle({"Records": [message(event(key))]}, settings, stepfunctions, sqs) == {"batchItemFailures": []}
    assert started(stepfunctions, settings) == []
    assert dead_letters(sqs, settings) == []


def test_unknown_formats_and_empty_files_are_started():
    """A file of an unknown format, or an empty one, starts an execution, so that it is rejected with a reason."""
    assert object_created(event("incoming/readme.docx"), {}) is not None
    assert object_created(event(size=0), {}) is not None


def test_both_spellings_of_etag_are_read():
    """`eTag`, which moto writes, is read like `etag`, which AWS writes."""
    assert object_created(event(etag=None, eTag="xyz"), {}).etag == "xyz"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("not json {", "not JSON"),
        ("[1]", "not an event"),
        ({"source": "aws.ec2", "detail-type": "EC2 State"}, "not an Object Created event"),
        ({"source": "aws.s3", "detail-type": "Object Created", "detail": {"bucket": {"name": "b"}}}, "object"),
        (event(size="many"), "invalid event"),
    ],
)
def test_a_poison_message_goes_to_the_dead_letter_queue_with_its_reason(stack, body, reason):
    """A message that can never be handled goes to the dead-letter queue with a reason, and counts as handled."""
    stepfunctions, sqs, settings = stack
    record = message(body)
    assert handle({"Records": [record]}, settings, stepfunctions, sqs) == {"batchItemFailures": []}
    (dead,) = dead_letters(sqs, settings)
    assert dead["Body"] == record["body"]
    assert reason in dead["MessageAttributes"]["reason"]["StringValue"]


def test_only_failed_messages_stay_in_the_queue(stack):
    """Of several messages only those with a transient failure stay in the queue."""
    stepfunctions, sqs, settings = stack

    class Moody:
        def start_execution(self, **request):
            if "slow" in request["name"]:
                Broken("ThrottlingException").start_execution()
            return stepfunctions.start_execution(**request)

    records = [message(event("incoming/a.csv"), "a"), message(event("incoming/slow.csv"), "b"), message("{", "c")]
    assert handle({"Records": records}, settings, Moody(), sqs) == {"batchItemFailures": [{"itemIdentifier": "b"}]}
    assert len(started(stepfunctions, settings)) == 1
    assert len(dead_letters(sqs, settings)) == 1


@pytest.mark.parametrize("code", ["StateMachineDoesNotExist", "AccessDeniedException", "ServiceUnavailable"])
def test_a_message_stays_in_the_queue_while_the_deployment_is_wrong(stack, code):
    """A missing state machine or permission loses no message: it stays in the queue."""
    _, sqs, settings = stack
    answer = handle({"Records": [message(event())]}, settings, Broken(code), sqs)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert dead_letters(sqs, settings) == []


def test_a_poison_message_stays_if_the_dead_letter_queue_is_unreachable(stack):
    """A poison message stays in its queue if the dead-letter queue is unreachable or not set: no message is lost."""
    stepfunctions, _, settings = stack
    kept = {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert handle({"Records": [message("{")]}, settings, stepfunctions, Broken("AccessDenied")) == kept
    del settings["RATESFLOW_DEAD_LETTER_QUEUE_URL"]
    assert handle({"Records": [message("{")]}, settings, stepfunctions, None) == kept


def test_input_that_aws_never_accepts_is_dead_lettered(stack):
    """A message whose execution Step Functions can never accept is dead-lettered with the error of AWS."""
    _, sqs, settings = stack
    handle({"Records": [message(event())]}, settings, Broken("InvalidExecutionInput"), sqs)
    (dead,) = dead_letters(sqs, settings)
    assert "InvalidExecutionInput" in dead["MessageAttributes"]["reason"]["StringValue"]


@given(st.integers(0, 2**45), st.integers(1, 2**32), st.integers(1, 20_000))
def test_shards_are_within_the_limits_of_batch(size, shard_bytes, most):
    """The number of shards is at least one, at most the limit and 10,000, and no more than the bytes need."""
    settings = {"RATESFLOW_SHARD_BYTES": str(shard_bytes), "RATESFLOW_MAX_SHARDS": str(most)}
    shards = shard_count("incoming/a.csv", size, settings)
    assert 1 <= shards <= min(most, 10_000)
    assert shards == 1 or (shards - 1) * shard_bytes < size


def test_large_files_are_split_whatever_their_names():
    """A compressed file, by its name, is one shard, whatever its size; without the setting every file is."""
    settings = {"RATESFLOW_SHARD_BYTES": "10", "RATESFLOW_MAX_SHARDS": "8"}
    assert shard_count("a.csv", 35, settings) == 4
    assert shard_count("a.jsonl", 35, settings) == shard_count("a.parquet", 35, settings) == 4
    for key in ("a.txt", "a", "incoming/2021.01", "a.gz/b", "a.CSV.part"):
        assert shard_count(key, 35, settings) == 4
    assert shard_count("a.csv.gz", 35, settings) == shard_count("a.CSV.GZ", 35, settings) == 1
    assert shard_count("a.gzip", 35, settings) == 1
    assert shard_count("a.csv", 10**12, {}) == 1


def test_trigger_imports_only_boto3():
    """The function imports no other module of the project, and no package but boto3."""
    code = (
        "import sys, runpy; before = set(sys.modules); runpy.run_path(sys.argv[1]);"
        "print(sorted({m.split('.')[0] for m in set(sys.modules) - before} & {'ratesflow', 'stepfunctions', 'click'}))"
    )
    done = subprocess.run([sys.executable, "-c", code, trigger.__file__], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unexpected_event_is_named():
    """The error of an event of another type names that type."""
    with pytest.raises(PoisonError, match="Object Deleted"):
        object_created({"source": "aws.s3", "detail-type": "Object Deleted"}, {})
