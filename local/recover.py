"""Resumes interrupted executions after the embedded stack went down, by `down` or by a crash.

The embedded AWS keeps a record of every execution; the ledger and the objects are kept as well. An interrupted
execution starts again with the same name and input, and its tasks skip finished work. An object in the inbox without
an execution and without a ledger row lost its event, and its execution is started now.
"""

from pathlib import Path
from typing import Any

import psycopg2

from ratesflow.local.aws.stepfunctions.execution_records import running
from ratesflow.local.deploy import clients
from ratesflow.local.names import INBOX
from ratesflow.workflow.client.aws_clients import AwsClients
from ratesflow.workflow.client.start import object_created
from ratesflow.workflow.trigger import IGNORED_FILES, ObjectCreated, is_ignored, start


def recover(environment: dict[str, str], aws_folder: Path) -> list[str]:
    """Start the executions that should be running, and return their names."""
    aws = clients(environment["AWS_ENDPOINT_URL"])
    states, machine = aws("stepfunctions"), environment["RATESFLOW_STATE_MACHINE_ARN"]
    target = environment.get("RATESFLOW_STATE_MACHINE_ALIAS_ARN", machine)
    restarted = _restart_unfinished(states, machine, target, aws_folder)
    in_ledger = _batch_ids(environment["DATABASE_URL"])
    lost = [found for found in _arrivals(aws, environment) if found.execution_name not in in_ledger.union(restarted)]
    return restarted + [start(states, target, found) for found in lost]


def _restart_unfinished(states: Any, machine: str, target: str, aws_folder: Path) -> list[str]:
    """Restart the unfinished executions of our state machine; those of other machines are left alone."""
    names = []
    for unfinished in running(aws_folder):
        if unfinished.machine_arn == machine:
            states.start_execution(stateMachineArn=target, name=unfinished.name, input=unfinished.input)
            names.append(unfinished.name)
    return names


def _batch_ids(url: str) -> set[str]:
    """Return the ids of all batches in the ledger."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT batch_id FROM batches")
        found = {batch_id for (batch_id,) in cursor.fetchall()}
    connection.close()
    return found


def _arrivals(aws: AwsClients, environment: dict[str, str]) -> list[ObjectCreated]:
    """Return every version of every object in the inbox, oldest first."""
    bucket, found = environment["RATESFLOW_BUCKET"], []
    for page in aws("s3").get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=INBOX):
        found += page.get("Versions", [])
    return [
        object_created(environment, bucket, item)
        for item in sorted(found, key=lambda item: item["LastModified"])
        if not item["Key"].endswith("/") and not is_ignored(item["Key"], environment.get(IGNORED_FILES, ""))
    ]
