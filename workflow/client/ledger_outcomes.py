"""What the ledger says of batches whose executions do not know: read from documents that gc and undo keep.

The database is out of reach for a command line on AWS; the bucket is not. loader/batches/ledger_outcomes.py
writes the documents.
"""

import json
from collections.abc import Mapping
from typing import Any

from ratesflow.workflow.client.environment import Environment

PREFIX = "results/outcomes/"


def ledger_word(environment: Environment, name: str) -> Mapping[str, Any] | None:
    """Return what the ledger says of a batch, in the schema of a notification; None when it was never asked."""
    from botocore.exceptions import ClientError

    try:
        found = environment.client("s3").get_object(Bucket=environment.bucket, Key=f"{PREFIX}{name}.json")
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
            return None  # without the right to list, what is not there looks forbidden
        raise
    document: Mapping[str, Any] = json.loads(found["Body"].read())
    return document


def names_with_word(environment: Environment) -> frozenset[str]:
    """Return the names of all batches of which `ledger_word` knows something: stopped, timed out or undone ones."""
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
