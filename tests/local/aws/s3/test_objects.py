"""S3: parts of objects, versions, and what outlasts a server that was killed."""

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
    ("asked", "start", "stop"),
    [("bytes=10-19", 10, 20), ("bytes=90-", 90, 100), ("bytes=-5", 95, 100), ("bytes=95-400", 95, 100)],
)
def test_ranges(stack, bucket, asked, start, stop):
    """A ranged GET answers the bytes asked for, and says which they are."""
    body = bytes(range(100))
    stack.client("s3").put_object(Bucket=bucket, Key="k", Body=body)
    answer = stack.client("s3").get_object(Bucket=bucket, Key="k", Range=asked)
    assert answer["Body"].read() == body[start:stop]
    assert answer["ContentRange"] == f"bytes {start}-{stop - 1}/100"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206


def test_range_beyond_the_end(stack, bucket):
    """A range that starts after the end is refused, as on AWS."""
    stack.client("s3").put_object(Bucket=bucket, Key="k", Body=b"abc")
    with pytest.raises(ClientError) as refused:
        stack.client("s3").get_object(Bucket=bucket, Key="k", Range="bytes=3-")
    assert refused.value.response["Error"]["Code"] == "InvalidRange"


def test_ranges_read_only_what_is_asked(stack, bucket):
    """Two hundred small reads of a large object take a moment, since none of them reads the whole."""
    s3 = stack.client("s3")
    body = os.urandom(64 * MIB)
    s3.put_object(Bucket=bucket, Key="large", Body=body)
    began = time.monotonic()
    for place in range(200):
        start = place * 300_000
        part = s3.get_object(Bucket=bucket, Key="large", Range=f"bytes={start}-{start + 99}")["Body"].read()
        assert part == body[start : start + 100]
    assert time.monotonic() - began < 6
    assert s3.get_object(Bucket=bucket, Key="large")["Body"].read() == body


def test_empty_object(stack, bucket):
    """An object may be empty."""
    stack.client("s3").put_object(Bucket=bucket, Key="empty", Body=b"")
    answer = stack.client("s3").get_object(Bucket=bucket, Key="empty")
    assert (answer["ContentLength"], answer["Body"].read()) == (0, b"")


def test_uploads_leave_no_copy_in_memory_or_on_disk(stack, bucket):
    """A finished multipart upload is kept once, and a replaced object of a bucket without versions not at all."""
    s3 = stack.client("s3")
    s3.create_bucket(Bucket="plain")
    for _ in range(3):
        s3.upload_fileobj(io.BytesIO(os.urandom(20 * MIB)), "plain", "same")
    kept = [path.stat().st_size for path in (stack.data / "s3" / "plain" / "data").iterdir()]
    assert kept == [20 * MIB]


def test_keys_with_control_characters_are_listed(stack, bucket):
    """A listing of versions has every key, prefix and marker, also those that XML has no place for."""
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
    """A put that asks for a free key is refused when the key is taken."""
    s3 = stack.client("s3")
    s3.put_object(Bucket=bucket, Key="once", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket=bucket, Key="once", Body=b"2", IfNoneMatch="*")
    assert refused.value.response["Error"]["Code"] == "PreconditionFailed"


@pytest.mark.parametrize("name", [".", ".."])
def test_odd_bucket_names_reach_no_files(stack, bucket, name):
    """Deleting a bucket that is none, but a path, deletes nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port)
    connection.request("DELETE", f"/{name}")
    assert connection.getresponse().status >= 400
    connection.close()
    assert (stack.data / "s3" / bucket / "bucket.json").exists()


@pytest.fixture(scope="module")
def two_lives(tmp_path_factory):
    """What a bucket looked like before `kill -9`, and a client of the server that was started after it."""
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


def test_everything_is_there_again(two_lives):
    """Buckets, versions, delete markers, ETags, metadata, types and dates are the same after `kill -9`."""
    before, s3, _ = two_lives
    assert _inventory(s3) == before
    assert {bucket for bucket, _, _ in before} == {"kept", "plain"}
    assert [entry["Name"] for entry in s3.list_buckets()["Buckets"]] == ["kept", "plain"]
    assert {key for bucket, key, _ in before if bucket == "plain"} == {"c", "d"}


def test_bytes_are_there_again(two_lives):
    """A large object uploaded in parts is read back byte for byte by its version, with its metadata."""
    before, s3, source = two_lives
    (key, version) = next((key, version) for _, key, version in before if key.startswith("incoming/"))
    answer = s3.get_object(Bucket="kept", Key=key, VersionId=version)
    assert answer["Body"].read() == source
    assert re.fullmatch(r'"[0-9a-f]{32}-5"', answer["ETag"])
    assert (answer["Metadata"], answer["ContentType"]) == ({"ratesflow-force": "true"}, "text/csv")


def test_versions_go_on(two_lives):
    """After the restart, a bucket still has versions, tags are kept, and a delete marker still hides its object."""
    _, s3, _ = two_lives
    assert s3.get_object(Bucket="kept", Key="often")["Body"].read() == b"2"
    assert s3.get_object_tagging(Bucket="kept", Key="often")["TagSet"] == [{"Key": "kind", "Value": "small"}]
    assert s3.get_bucket_versioning(Bucket="kept")["Status"] == "Enabled"
    assert "Status" not in s3.get_bucket_versioning(Bucket="plain")
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket="kept", Key="gone")
    version = s3.put_object(Bucket="kept", Key="often", Body=b"new")["VersionId"]
    assert s3.get_object(Bucket="kept", Key="often")["VersionId"] == version
    s3.create_bucket(Bucket="kept")  # deploying again makes it again, and takes nothing away
    assert s3.get_object(Bucket="kept", Key="often")["Body"].read() == b"new"
