"""`ratesflow reference`."""

import sys
import uuid
from pathlib import Path

import click

from ratesflow.workflow.cli.context import FAILED, CliContext
from ratesflow.workflow.cli.database_task import print_result, run_database_task
from ratesflow.workflow.cli.output import json_option


@click.group()
def reference() -> None:
    """Manage the ports and regions that prices are checked against.

    \b
    Example:
      ratesflow reference load ports.csv regions.csv

    Exit codes: those of the command.
    """


@reference.command()
@click.argument("ports", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="PORTS.csv")
@click.argument("regions", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="REGIONS.csv")
@json_option
@click.pass_obj
def load(context: CliContext, ports: Path, regions: Path, as_json: bool) -> None:
    """Load or update ports and regions from CSV files.

    The columns are code,name,parent_slug for ports and slug,name,parent_slug for regions. Unknown parents and cycles
    are rejected, and then nothing changes. The rates of regions that change are rebuilt.

    \b
    Example:
      ratesflow reference load ports.csv regions.csv

    Exit codes: 0 loaded, 1 rejected or failed (the message has the reason), 69 no stack, 75 the task still runs.
    """
    environment = context.environment()
    s3, folder = environment.client("s3"), f"reference/{uuid.uuid4()}"
    keys = {"ports": f"{folder}/ports.csv", "regions": f"{folder}/regions.csv"}
    for file, key in ((ports, keys["ports"]), (regions, keys["regions"])):
        s3.upload_file(str(file), environment.bucket, key)
    document = run_database_task(environment, "reference", keys)
    if document["outcome"] == "rejected" and not as_json:
        raise click.ClickException(f"rejected, nothing has changed: {document['message']}")
    print_result(document, as_json)
    sys.exit(FAILED if document["outcome"] == "rejected" else 0)
