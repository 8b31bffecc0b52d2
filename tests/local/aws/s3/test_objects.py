"""S3: ranges, versions, and what survives a killed server."""

import http.client
import io
import os
import re
import time

import pytest
from botocore.exceptions import ClientError

from tests.local.aws.aws_stack import launch, running

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("requested", "start", "stop"),
    [("bytes=10-19", 10, 20), ("bytes=90-", 90, 100), ("bytes=-5", 95, 100), ("bytes=95-400", 95, 100)],
)
def test_ranges(stack, bucket, requested, start, stop):
    """A ranged GET returns the requested bytes and their range."""
    body = bytes(range(100))
    stack.client("s3").put_object(Bucket=bucket, Key="k", Body=body)
    answer = stack.client("s3").get_object(Bucket=bucket, Key="k", Range=requested)
    assert answer["Body"].read() == body[start:stop]
    assert answer["ContentRange"] == f"bytes {start}-{stop - 1}/100"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206


def test_range_beyond_the_end(stack, bucket):
    """A range that starts after the end is rejected, as on AWS."""
    stack.client("s3").put_object(Bucket=bucket, Key="k", Body=b"abc")
    with pytest.raises(ClientError) as rejected:
        stack.client("s3").get_object(Bucket=bucket, Key="k", Range="bytes=3-")
    assert rejected.value.response["Error"]["Code"] == "InvalidRange"


def test_ranged_reads_do_not_read_the_whole_object(stack, bucket):
    """200 small ranges of a large object are fast, since none of them reads the whole object."""
    s3 = stack.client("s3")
    body = os.urandom(64 * MIB)
    s3.put_object(Bucket=bucket, Key="large", Body=body)
    began = time.monotonic()
    for number in range(200):
        start = number * 300_000
        part = s3.get_object(Bucket=bucket, Key="large", Range=f"bytes={start}-{start + 99}")["Body"].read()
        assert part == body[start : start + 100]
    assert time.monotonic() - began < 6
    assert s3.get_object(Bucket=bucket, Key="large")["Body"].read() == body


def test_empty_object(stack, bucket):
    """An object may be empty."""
    stack.client("s3").put_object(Bucket=bucket, Key="empty", Body=b"")
    answer = stack.client("s3").get_object(Bucket=bucket, Key="empty")
    assert (answer["ContentLength"], answer["Body"].read()) == (0, b"")


def test_uploads_leave_no_extra_copy_on_disk(stack, bucket):
    """A completed multipart upload is stored once; a replaced object of a bucket without versioning is deleted."""
    s3 = stack.client("s3")
    s3.create_bucket(Bucket="plain")
    for _ in range(3):
        s3.upload_fileobj(io.BytesIO(os.urandom(20 * MIB)), "plain", "same")
    kept = [path.stat().st_size for path in (stack.data / "s3" / "plain" / "data").iterdir()]
    assert kept == [20 * MIB]


def test_keys_with_control_characters_are_listed(stack, bucket):
    """A listing of versions has every key, prefix and marker, including those that XML cannot represent."""
    s3, keys = stack.client("s3"), ["in/a b%20+.csv", "in/tab\there \x1b[2J\x07red\x9b.csv", "in/zürich 上海 <&>.csv"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    s3.delete_object(Bucket=bucket, Key=keys[1])
    found = s3.list_object_versions(Bucket=bucket, Prefix="in/")
    assert (found["Prefix"], [each["Key"] for each in found["Versions"]]) == ("in/", keys)
    assert [each["Key"] for each in found["DeleteMarkers"]] == [keys[1]]
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": 1})
    assert [each["Key"] for page in pages for each in page.get("Versions", [])] == keys
    grouped = s3.list_object_versions(Bucket=bucket, Delimiter="\t")
    assert [each["Prefix"] for each in grouped["CommonPrefixes"]] == ["in/tab\t"]


def test_conditional_put(stack, bucket):
    """A put with If-None-Match is rejected if the key exists."""
    s3 = stack.client("s3")
    s3.put_object(Bucket=bucket, Key="once", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as rejected:
        s3.put_object(Bucket=bucket, Key="once", Body=b"2", IfNoneMatch="*")
    assert rejected.value.response["Error"]["Code"] == "PreconditionFailed"


@pytest.mark.parametrize("name", [".", ".."])
def test_bucket_names_that_are_paths_delete_nothing(stack, bucket, name):
    """Deleting a bucket whose name is a path deletes nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port)
    connection.request("DELETE", f"/{name}")
    assert connection.getresponse().status >= 400
    connection.close()
    assert (stack.data / "s3" / bucket / "bucket.json").exists()


@pytest.fixture(scope="module")
def killed_and_restarted(tmp_path_factory):
    """The inventory before SIGKILL, a client of the server that is started afterwards, and a large object's bytes."""
    data = tmp_path_factory.mktemp("lives")
    first = launch(data)
    s3 = first.client("s3")
    s3.create_bucket(Bucket="kept")
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    s3.create_bucket(Bucket="plain")
    s3.create_bucket(Bucket="deleted")
    s3.delete_bucket(Bucket="deleted")
    source = data / "large.bin"
    source.write_bytes(os.urandom(40 * MIB))
    extra = {"Metadata": {"ratesflow-force": "true"}, "ContentType": "text/csv"}
    s3.upload_file(str(source), "kept", "incoming/großer Name + 1%.csv", ExtraArgs=extra)
    for number in range(3):
        s3.put_object(Bucket="kept", Key="often", Body=b"%d" % number, Tagging="kind=small")
    s3.put_object(Bucket="kept", Key="gone", Body=b"1")
    s3.delete_object(Bucket="kept", Key="gone")
    for key in ("a", "b", "c"):
        s3.put_object(Bucket="plain", Key=key, Body=key.encode())
    s3.delete_object(Bucket="plain", Key="a")
    s3.delete_objects(Bucket="plain", Delete={"Objects": [{"Key": "b"}]})
    s3.copy_object(Bucket="plain", Key="d", CopySource={"Bucket": "kept", "Key": "often"})
    before = _inventory(s3)
    first.kill()
    with running(data) as second:
        yield before, second.client("s3"), source.read_bytes()


def _inventory(s3):
    found = {}
    for bucket in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]:
        listed = s3.list_object_versions(Bucket=bucket)
        for version in listed.get("Versions", []) + listed.get("DeleteMarkers", []):
            name = {"Bucket": bucket, "Key": version["Key"]}
            if bucket == "kept":
                name["VersionId"] = version["VersionId"]
            head = {}
            if "ETag" in version:
                head = s3.head_object(**name)
                del head["ResponseMetadata"]
            found[bucket, version["Key"], version["VersionId"]] = (version, head)
    return found


def test_buckets_and_versions_survive_a_kill(killed_and_restarted):
    """Buckets, versions, delete markers, ETags, metadata, types and dates are the same after SIGKILL."""
    before, s3, _ = killed_and_restarted
    assert _inventory(s3) == before
    assert {bucket for bucket, _, _ in before} == {"kept", "plain"}
    assert [entry["Name"] for entry in s3.list_buckets()["Buckets"]] == ["kept", "plain"]
    assert {key for bucket, key, _ in before if bucket == "plain"} == {"c", "d"}


def test_object_bytes_survive_a_kill(killed_and_restarted):
    """After SIGKILL a large object that was uploaded in parts has the same bytes and metadata."""
    before, s3, source = killed_and_restarted
    (key, version) = next((key, version) for _, key, version in before if key.startswith("incoming/"))
    answer = s3.get_object(Bucket="kept", Key=key, VersionId=version)
    assert answer["Body"].read() == source
    assert re.fullmatch(r'"[0-9a-f]{32}-5"', answer["ETag"])
    assert (answer["Metadata"], answer["ContentType"]) == ({"ratesflow-force": "true"}, "text/csv")


def test_versioning_continues_after_a_kill(killed_and_restarted):
    """After a restart, versioning and tags are kept, and a delete marker still hides its object."""
    _, s3, _ = killed_and_restarted
    assert s3.get_object(Bucket="kept", Key="often")["Body"].read() == b"2"
    assert s3.get_object_tagging(Bucket="kept", Key="often")["TagSet"] == [{"Key": "kind", "Value": "small"}]
    assert s3.get_bucket_versioning(Bucket="kept")["Status"] == "Enabled"
    assert "Status" not in s3.get_bucket_versioning(Bucket="plain")
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket="kept", Key="gone")
    version = s3.put_object(Bucket="kept", Key="often", Body=b"new")["VersionId"]
    assert s3.get_object(Bucket="kept", Key="often")["VersionId"] == version
    s3.create_bucket(Bucket="kept")  # a second deployment creates it again, and deletes nothing
    assert s3.get_object(Bucket="kept", Key="often")["Body"].read() == b"new"
