"""The ledger's outcome of batches whose execution does not have it: read from documents that gc and undo write.

The database is out of reach for a command line on AWS; the bucket is not. loader/batches/ledger_outcomes.py
writes the documents.
"""

import json
from collections.abc import Mapping
from typing import Any

from ratesflow.workflow.client.environment import Environment

PREFIX = "results/outcomes/"


def ledger_outcome(environment: Environment, name: str) -> Mapping[str, Any] | None:
    """Return the ledger's outcome of a batch, in the schema of a notification; None without a document."""
    from botocore.exceptions import ClientError

    try:
        found = environment.client("s3").get_object(Bucket=environment.bucket, Key=f"{PREFIX}{name}.json")
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
            return None  # without the permission to list, S3 answers 403 for a missing object
        raise
    document: Mapping[str, Any] = json.loads(found["Body"].read())
    return document


def names_with_outcome(environment: Environment) -> frozenset[str]:
    """Return the names of all batches that have such a document: stopped, timed out or undone ones."""
    from botocore.exceptions import ClientError

    pages = environment.client("s3").get_paginator("list_objects_v2")
    try:
        found = pages.paginate(Bucket=environment.bucket, Prefix=PREFIX)
        keys = [entry["Key"] for page in found for entry in page.get("Contents", [])]
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
            return frozenset()
        raise
    return frozenset(key.removeprefix(PREFIX).removesuffix(".json") for key in keys)
