"""Published documents match their schemas, in real executions with every outcome."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.loader.samples import csv, rows
from tests.local.conftest import Stack
from tests.local.process_control import Mailbox, ended, send, start
from tests.waiting import wait_for

SCHEMAS = {path.stem: json.loads(path.read_text()) for path in Path("docs/schemas").glob("*.json")}


def check(schema: str, document: Any) -> None:
    """Assert that a document matches a schema; the failure lists all errors."""
    errors = [
        f"{error.json_path}: {error.message}" for error in Draft202012Validator(SCHEMAS[schema]).iter_errors(document)
    ]
    assert errors == [], document


def documents(stack: Stack, prefix: str) -> dict[str, Any]:
    """Return all JSON documents under a prefix of the bucket, by key."""
    s3, bucket = stack.aws("s3"), stack.environment["RATESFLOW_BUCKET"]
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]
    read = {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys if key.endswith(".json")}
    return {key: json.loads(text) for key, text in read.items()}


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_published_schemas_are_valid(name: str) -> None:
    """Each published schema is valid and has its version."""
    Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["properties"]["schema"]["const"] == f"ratesflow.{name}/1"


@pytest.mark.parametrize("kind", ["committed", "rejected", "failed", "array"])
def test_documents_match_their_schemas(stack: Stack, tmp_path: Path, kind: str) -> None:
    """Results, report and notification match their schemas, for each outcome."""
    mailbox = Mailbox(stack)
    data = csv(rows(400, seed=1000 + len(kind)))
    if kind == "array":
        name = start(stack, data, "schema-array", 3)
    elif kind == "failed":
        name = start(stack, data, "schema-failed", 1, gone=True)
    else:
        name = send(stack, tmp_path, data + b"a,b\n" * (kind == "rejected"), f"schema-{kind}")
    ended(stack, name)
    results = documents(stack, f"results/{name}/")
    tasks = {key for key in results if key.count("/") == 2 and "error" not in key}
    assert tasks
    for key, document in results.items():
        if key in tasks:
            check("result", document)
        elif key.count("/") == 3:
            check("shard", document)
    shards = [key for key in results if key.count("/") == 3]
    assert len(shards) == (6 if kind == "array" else 0)
    reports = documents(stack, f"reports/{name}/")
    assert len(reports) == (0 if kind == "failed" else 1)
    for document in reports.values():
        check("report", document)
    (message,) = wait_for(lambda: mailbox.of(name))
    check("notification", message)
    assert message["outcome"] == ("committed" if kind == "array" else kind)


def test_notification_of_gc_is_like_the_state_machines() -> None:
    """What gc sends for a batch that it closed has the same schema."""
    from ratesflow.loader.batches.notification import notification

    counts = (None, None, {"validate": 1.5}, None)
    row = ("name", "failed", "bucket", "incoming/a.csv", "v1", *counts, "arn:aws:states:…", "stopped")
    check("notification", notification(row))
