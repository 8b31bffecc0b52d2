"""Takes up again what the end of the embedded stack interrupted, be it `down` or a crash.

Its AWS keeps a record of every execution, and the ledger and the objects last. An execution that was under way
starts again, under its own name and with its own input; its tasks find what was done. An object of the inbox
that has neither execution nor row in the ledger never started, since its event was lost, and does now.
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
    """Start what should be running; return the names of the executions that were started."""
    aws = clients(environment["AWS_ENDPOINT_URL"])
    states, machine = aws("stepfunctions"), environment["RATESFLOW_STATE_MACHINE_ARN"]
    target = environment.get("RATESFLOW_STATE_MACHINE_ALIAS_ARN", machine)
    again = _start_again(states, machine, target, aws_folder)
    known = _ledger(environment["DATABASE_URL"])
    lost = [found for found in _arrivals(aws, environment) if found.execution_name not in known.union(again)]
    return again + [start(states, target, found) for found in lost]


def _start_again(states: Any, machine: str, target: str, aws_folder: Path) -> list[str]:
    """Start the executions of our machine that did not end; those of other machines are their owner's."""
    names = []
    for unfinished in running(aws_folder):
        if unfinished.machine_arn == machine:
            states.start_execution(stateMachineArn=target, name=unfinished.name, input=unfinished.input)
            names.append(unfinished.name)
    return names


def _ledger(url: str) -> set[str]:
    """Return the ids of all batches."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT batch_id FROM batches")
        found = {batch_id for (batch_id,) in cursor.fetchall()}
    connection.close()
    return found


def _arrivals(aws: AwsClients, environment: dict[str, str]) -> list[ObjectCreated]:
    """Return what is in the inbox, every version of it, oldest first."""
    bucket, found = environment["RATESFLOW_BUCKET"], []
    for page in aws("s3").get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=INBOX):
        found += page.get("Versions", [])
    return [
        object_created(environment, bucket, item)
        for item in sorted(found, key=lambda item: item["LastModified"])
        if not item["Key"].endswith("/") and not is_ignored(item["Key"], environment.get(IGNORED_FILES, ""))
    ]
