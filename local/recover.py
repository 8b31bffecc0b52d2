"""Takes up again what a crash of the embedded stack interrupted.

The embedded AWS forgets its executions when it ends; the ledger and the objects last. A batch that the
ledger still calls open gets its execution again, under the same name; its tasks find what was done. An object
of the inbox that has no row in the ledger never started, and does now.
"""

import psycopg2

from local.deploy import INBOX, Clients, clients
from workflow.trigger import Arrival, start


def recover(environment: dict[str, str]) -> list[str]:
    """Start what should be running; return the names of the executions that were started."""
    aws = clients(environment["AWS_ENDPOINT_URL"])
    ledger = _ledger(environment["DATABASE_URL"])
    states = aws("stepfunctions")
    machine = environment["RATESFLOW_STATE_MACHINE_ARN"]
    arrivals = _arrivals(aws, environment["RATESFLOW_BUCKET"])
    return [start(states, machine, found) for found in arrivals if ledger.get(found.execution_name, "open") == "open"]


def _ledger(url: str) -> dict[str, str]:
    """Return the states of all batches by their id."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT batch_id, state FROM batches")
        found = dict(cursor.fetchall())
    connection.close()
    return found


def _arrivals(aws: Clients, bucket: str) -> list[Arrival]:
    """Return what is in the inbox, every version of it, oldest first."""
    found = []
    for page in aws("s3").get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=INBOX):
        found += page.get("Versions", [])
    return [
        Arrival(bucket, item["Key"], item["VersionId"], item["ETag"].strip('"'), item["Size"])
        for item in sorted(found, key=lambda item: item["LastModified"])
        if not item["Key"].endswith("/")
    ]
