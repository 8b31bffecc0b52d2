"""Tasks that read and write S3, their errors, and which of them a Catch handles."""

import json

import pytest

GET = "arn:aws:states:::aws-sdk:s3:getObject"
PUT = "arn:aws:states:::aws-sdk:s3:putObject"


def _machine(resource, parameters, **fields):
    task = {"Type": "Task", "Resource": resource, "Parameters": parameters, "End": True} | fields
    return {"StartAt": "Only", "States": {"Only": task, "Caught": {"Type": "Pass", "End": True}}}


def _catch(*errors):
    return [{"ErrorEquals": list(errors), "Next": "Caught"}]


def test_json_object_in_s3_becomes_state(stack, bucket, machines):
    """A JSON document in S3 becomes state with getObject and States.StringToJson($.Body)."""
    stack.client("s3").put_object(Bucket=bucket, Key="k", Body=json.dumps({"outcome": "loaded", "rows": 3}))
    definition = _machine(
        GET,
        {"Bucket": bucket, "Key.$": "$.key"},
        ResultSelector={"document.$": "States.StringToJson($.Body)"},
        ResultPath="$.result",
    )
    ended = machines.run(definition, {"key": "k"})
    assert json.loads(ended["output"]) == {
        "key": "k",
        "result": {"document": {"outcome": "loaded", "rows": 3}},
    }


def test_dates_in_output_are_text(stack, bucket, machines):
    """Dates in an output are text."""
    stack.client("s3").put_object(Bucket=bucket, Key="k", Body=b"text")
    ended = machines.run(_machine(GET, {"Bucket": bucket, "Key": "k"}))
    output = json.loads(ended["output"])
    assert (output["Body"], output["ContentLength"]) == ("text", 4)
    assert output["LastModified"].endswith("Z")
    assert output["ETag"].startswith('"')
    assert output["VersionId"]


def test_missing_key_can_be_caught_by_name(bucket, machines):
    """A missing key fails with S3.NoSuchKeyException, which a Catch matches by that name."""
    missing = {"Bucket": bucket, "Key": "none"}
    ended = machines.run(_machine(GET, missing, Catch=_catch("S3.NoSuchKeyException")))
    assert json.loads(ended["output"])["Error"] == "S3.NoSuchKeyException"
    ended = machines.run(_machine(GET, missing))
    assert (ended["status"], ended["error"]) == ("FAILED", "S3.NoSuchKeyException")


@pytest.mark.parametrize("error", ["States.IntrinsicFailure", "States.ALL"])
def test_bad_json_is_caught(stack, bucket, machines, error):
    """StringToJson of invalid JSON fails with an error that a Catch can handle."""
    stack.client("s3").put_object(Bucket=bucket, Key="k", Body=b"{not json")
    definition = _machine(
        GET,
        {"Bucket": bucket, "Key": "k"},
        ResultSelector={"document.$": "States.StringToJson($.Body)"},
        Catch=_catch(error),
    )
    caught = json.loads(machines.run(definition)["output"])
    assert caught["Error"] == "States.IntrinsicFailure"
    assert "StringToJson" in caught["Cause"]


def test_states_all_does_not_match_runtime_errors(stack, bucket, machines):
    """A path that does not exist fails with States.Runtime, which States.ALL does not match, as on AWS."""
    stack.client("s3").put_object(Bucket=bucket, Key="k", Body=b"{}")
    definition = _machine(
        GET,
        {"Bucket": bucket, "Key": "k"},
        ResultSelector={"document.$": "$.Nowhere"},
        Catch=_catch("States.ALL"),
    )
    ended = machines.run(definition)
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Runtime")


def test_put_object_writes_json(stack, bucket, machines):
    """putObject writes an object in Body as JSON, with the given content type."""
    definition = _machine(PUT, {"Bucket": bucket, "Key": "k", "Body.$": "$.document", "ContentType": "a/b"})
    ended = machines.run(definition, {"document": {"a": [1, "ü"]}})
    assert ended["status"] == "SUCCEEDED"
    written = stack.client("s3").get_object(Bucket=bucket, Key="k")
    assert json.loads(written["Body"].read()) == {"a": [1, "ü"]}
    assert written["ContentType"] == "a/b"


def test_text_is_written_as_a_json_string(stack, bucket, machines):
    """putObject writes text in Body as a quoted JSON string, so that States.JsonToString would encode it twice."""
    definition = _machine(PUT, {"Bucket": bucket, "Key": "k", "Body.$": "States.JsonToString($.document)"})
    machines.run(definition, {"document": {"a": 1}})
    written = stack.client("s3").get_object(Bucket=bucket, Key="k")["Body"].read()
    assert json.loads(json.loads(written)) == {"a": 1}


def test_result_above_256_kib_fails(stack, bucket, machines):
    """More than 256 KiB of state fails with States.DataLimitExceeded."""
    stack.client("s3").put_object(Bucket=bucket, Key="k", Body=b"x" * 300_000)
    ended = machines.run(_machine(GET, {"Bucket": bucket, "Key": "k"}, Catch=_catch("States.ALL")))
    assert (ended["status"], ended["error"]) == ("FAILED", "States.DataLimitExceeded")
