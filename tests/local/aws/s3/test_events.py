"""The events of S3 objects in EventBridge."""

import json
import uuid

import pytest

from tests.local.aws.aws_stack import wait_for


@pytest.fixture
def received_events(stack, bucket):
    """A function that waits for a number of the bucket's events and returns them in order."""
    events, sqs = stack.client("events"), stack.client("sqs")
    name = f"events-{uuid.uuid4().hex[:12]}"
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    stack.client("s3").put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])

    def receive(count):
        got = []

        def enough():
            for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
                got.append(json.loads(message["Body"]))
            return len(got) >= count

        wait_for(enough)
        return got

    return receive


def test_event_of_a_put(stack, bucket, received_events):
    """The event of a put has AWS's fields and names, and the unmodified key."""
    key = "incoming/größe + 50%.csv"
    put = stack.client("s3").put_object(Bucket=bucket, Key=key, Body=b"abc")
    (event,) = received_events(1)
    detail = event["detail"]
    assert (event["source"], event["detail-type"]) == ("aws.s3", "Object Created")
    assert (event["account"], event["region"]) == ("123456789012", "us-east-1")
    assert event["resources"] == [f"arn:aws:s3:::{bucket}"]
    assert event["time"].endswith("Z")
    sequencer = detail["object"].pop("sequencer")
    assert int(sequencer, 16) > 0
    expected = {"key": key, "size": 3, "etag": put["ETag"].strip('"'), "version-id": put["VersionId"]}
    assert detail["object"] == expected
    assert (detail["version"], detail["bucket"], detail["reason"]) == ("0", {"name": bucket}, "PutObject")
    assert {"request-id", "requester", "source-ip-address"} <= detail.keys()


def test_multipart_upload_sends_one_event(stack, bucket, received_events):
    """A multipart upload sends one event, when it is complete."""
    s3 = stack.client("s3")
    started = s3.create_multipart_upload(Bucket=bucket, Key="parts")
    name = {"Bucket": bucket, "Key": "parts", "UploadId": started["UploadId"]}
    part = s3.upload_part(**name, PartNumber=1, Body=b"one")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    done = s3.complete_multipart_upload(**name, MultipartUpload=parts)
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "parts"})
    first, second = (event["detail"] for event in received_events(2))
    assert (first["reason"], second["reason"]) == ("CompleteMultipartUpload", "CopyObject")
    assert first["object"]["etag"] == done["ETag"].strip('"')
    assert first["object"]["version-id"] == done["VersionId"]
    assert first["object"]["size"] == 3
    assert first["object"]["sequencer"] < second["object"]["sequencer"]


def test_object_is_complete_when_its_event_arrives(stack, bucket, received_events):
    """When an event is received, the object's metadata is in place."""
    s3 = stack.client("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", Metadata={"ratesflow-force": "true"})
    (event,) = received_events(1)
    head = s3.head_object(Bucket=bucket, Key="k", VersionId=event["detail"]["object"]["version-id"])
    assert head["Metadata"] == {"ratesflow-force": "true"}


def test_event_of_a_delete(stack, received_events, bucket):
    """Deleting a version permanently sends an event with that deletion type."""
    s3 = stack.client("s3")
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    s3.delete_object(Bucket=bucket, Key="k", VersionId=version)
    deleted = received_events(2)[1]
    assert deleted["detail-type"] == "Object Deleted"
    assert (deleted["detail"]["reason"], deleted["detail"]["deletion-type"]) == (
        "DeleteObject",
        "Permanently Deleted",
    )
