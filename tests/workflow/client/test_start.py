"""Starting without an event, stopping, and single tasks, on moto in this process."""

import json
import uuid
from dataclasses import asdict

import boto3
import pytest
from moto import mock_aws

from ratesflow.workflow.client import errors, executions, run_task, start
from ratesflow.workflow.client.environment import NEEDED, Environment
from ratesflow.workflow.client.upload import upload
from ratesflow.workflow.job_definitions import JobSettings, job_definitions
from ratesflow.workflow.trigger import execution_name

FLOW = {"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}
TRUST = "{}"


@pytest.fixture
def environment(monkeypatch):
    """An environment on moto's AWS: a versioned bucket, a state machine, a job queue, a dead-letter queue."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws(config={"batch": {"use_docker": False}}):
        s3, sqs = boto3.client("s3"), boto3.client("sqs")
        s3.create_bucket(Bucket="data")
        s3.put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
        role = boto3.client("iam").create_role(RoleName="role", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
        machine = boto3.client("stepfunctions").create_state_machine(
            name="flow", definition=json.dumps(FLOW), roleArn=role
        )["stateMachineArn"]
        values = dict.fromkeys(NEEDED, "unused") | {
            "RATESFLOW_BUCKET": "data",
            "RATESFLOW_INBOX": "s3://data/incoming/",
            "RATESFLOW_STATE_MACHINE_ARN": machine,
            "RATESFLOW_JOB_QUEUE": _job_queue(role),
            "RATESFLOW_JOB_PREFIX": "ratesflow",
            "RATESFLOW_DEAD_LETTER_QUEUE_URL": sqs.create_queue(QueueName="dead")["QueueUrl"],
        }
        yield Environment(values, "a test")


def _job_queue(role):
    batch = boto3.client("batch")
    compute = batch.create_compute_environment(
        computeEnvironmentName="compute", type="UNMANAGED", state="ENABLED", serviceRole=role
    )["computeEnvironmentArn"]
    for definition in job_definitions(JobSettings()):
        batch.register_job_definition(**definition)
    order = [{"order": 1, "computeEnvironment": compute}]
    return batch.create_job_queue(jobQueueName="queue", state="ENABLED", priority=1, computeEnvironmentOrder=order)[
        "jobQueueArn"
    ]


def input_of(environment, name):
    return executions.get_execution(environment, name).input


def test_start_equals_the_event(environment, tmp_path):
    """`start` starts the same execution as the event of the object, once."""
    file = tmp_path / "prices.csv"
    file.write_text("x")
    created = upload(environment, file)
    name = start.start_object(environment, "s3://data/incoming/prices.csv")
    assert name == execution_name("data", "incoming/prices.csv", created.version)
    assert input_of(environment, name) == asdict(created)
    assert start.start_object(environment, f"s3://data/incoming/prices.csv?versionId={created.version}") == name
    assert len(executions.list_executions(environment)) == 1


def test_upload_finds_its_own_version(environment, tmp_path, monkeypatch):
    """When another client overwrites the file immediately, the uploaded version is still the one that is followed."""
    file = tmp_path / "prices.csv"
    file.write_text("mine")
    s3 = environment.client("s3")
    original = s3.upload_file

    def raced(*arguments, **options):
        original(*arguments, **options)
        s3.put_object(Bucket="data", Key="incoming/prices.csv", Body=b"theirs")

    monkeypatch.setattr(s3, "upload_file", raced)
    created = upload(environment, file, force=True)
    found = s3.get_object(Bucket="data", Key=created.key, VersionId=created.version)
    assert found["Body"].read() == b"mine"
    assert found["Metadata"]["ratesflow-force"] == "true"


def test_start_of_nothing_names_the_remedy(environment):
    """An address without an object, or an invalid one, is rejected with what to do."""
    with pytest.raises(errors.NotStartedError, match=r"aws s3 ls s3://data/incoming/$"):
        start.start_object(environment, "s3://data/incoming/nope.csv")
    with pytest.raises(errors.NotStartedError, match=r"aws s3 ls s3://data/$"):
        start.start_object(environment, "s3://data/nope.csv")
    with pytest.raises(errors.NotStartedError, match="s3://BUCKET/KEY"):
        start.start_object(environment, "prices.csv")


def test_redo_runs_again_under_a_new_name(environment):
    """An execution that has ended runs again with the same input, linked to the old one; the names are numbered."""
    client = environment.client("stepfunctions")
    client.start_execution(stateMachineArn=environment.state_machine_arn, name="prices-0123", input='{"key": "k"}')
    with pytest.raises(errors.NotStartedError, match="still runs"):
        start.rerun(environment, "prices-0123")
    arn = executions.stop_execution(environment, "prices-0123")
    assert executions.get_execution(environment, arn).outcome == "open"  # the ledger was not asked
    assert start.rerun(environment, "prices-0123") == "prices-0123-r1"
    assert input_of(environment, "prices-0123-r1") == {"key": "k", "redo_of": arn}
    executions.stop_execution(environment, "prices-0123-r1")
    assert start.rerun(environment, "prices-0123-r1") == "prices-0123-r2"
    assert start.rerun(environment, "prices-0123") == "prices-0123-r3"


def test_missing_execution_is_named(environment):
    """An execution that does not exist is named, with the command that lists executions."""
    with pytest.raises(errors.ExecutionMissingError, match=r"'nope'.*ratesflow executions"):
        executions.get_execution(environment, "nope")
    with pytest.raises(errors.ExecutionMissingError):
        executions.wait_for_start(environment, "nope", 0)


def test_execution_arns_have_no_alias(environment):
    """The ARN of an execution is derived from the state machine's, without its alias or version."""
    arn = "arn:aws:states:eu-west-1:1:stateMachine:flow:live"
    aliased = Environment({**environment.values, "RATESFLOW_STATE_MACHINE_ARN": arn}, "a test")
    assert executions.execution_arn(aliased, "x") == "arn:aws:states:eu-west-1:1:execution:flow:x"


def test_redrive_starts_what_can_be_started(environment):
    """Messages in the dead-letter queue that can be handled now are started and removed; the others stay."""
    sqs, url = environment.client("sqs"), environment["RATESFLOW_DEAD_LETTER_QUEUE_URL"]
    found = {"key": "incoming/a.csv", "size": 3, "etag": "e", "version-id": "v"}
    event = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": "data"}, "object": found},
    }
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps(event))
    sqs.send_message(QueueUrl=url, MessageBody="{")
    done = sorted(start.redrive(environment), key=lambda one: one.handled)
    assert [one.handled for one in done] == [False, True]
    assert "not JSON" in done[0].reason
    assert done[1].execution == execution_name("data", "incoming/a.csv", "v")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "0"})
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (
        int(attributes["ApproximateNumberOfMessages"]) + int(attributes["ApproximateNumberOfMessagesNotVisible"]) == 1
    )


def test_task_is_run_and_its_result_read(environment, monkeypatch):
    """A task runs as a Batch job; its result document is returned with its separate data."""
    monkeypatch.setattr(uuid, "uuid4", lambda: "0123")
    s3, batch = environment.client("s3"), environment.client("batch")
    data_key = "results/ledger-0123/ledger.data.json"
    document = {"schema": "ratesflow.result/1", "task": "ledger", "outcome": "done", "data": data_key}
    s3.put_object(Bucket="data", Key="results/ledger-0123/ledger.json", Body=json.dumps(document))
    s3.put_object(Bucket="data", Key=data_key, Body=b'[{"batch_no": 1}]')
    seen = []
    answer = run_task.run_task(environment, "ledger", {"limit": "5"}, progress=seen.append)
    assert answer["data"] == [{"batch_no": 1}]
    assert seen[-1] == "SUCCEEDED"
    (job,) = batch.list_jobs(jobQueue="queue", jobStatus="SUCCEEDED")["jobSummaryList"]
    assert job["jobName"] == "ledger-0123"


def test_task_without_a_result_is_an_error(environment):
    """A job that succeeds without a result is reported as a version mismatch of the loader."""
    with pytest.raises(errors.TaskFailedError, match="wrote no result"):
        run_task.run_task(environment, "migrate")


def test_arguments_of_tasks_are_checked(environment):
    """A task with an unknown or a missing argument is rejected before it runs."""
    with pytest.raises(ValueError, match=r"unknown: \['colour'\]"):
        run_task.submit_task(environment, "ledger", "run", {"colour": "red"})
    with pytest.raises(ValueError, match=r"missing: \['batch'\]"):
        run_task.submit_task(environment, "undo", "run", {})
