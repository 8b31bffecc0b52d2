"""`ratesflow start`."""

import click

from ratesflow.workflow.cli.context import CliContext
from ratesflow.workflow.cli.execution_output import print_started
from ratesflow.workflow.cli.output import json_option


@click.command()
@click.argument("address", metavar="s3://BUCKET/KEY")
@json_option
@click.pass_obj
def start(context: CliContext, address: str, as_json: bool) -> None:
    """Process a file that is already in the bucket.

    It starts the same execution as the file's own event. An execution that is running, or whose batch is committed,
    is left unchanged; one that ended otherwise is redone. Add ?versionId=… for an older version.

    \b
    Example:
      ratesflow start s3://my-bucket/incoming/prices.csv

    Exit codes: 0 started (or already started), 1 there is no such object, 69 no stack.
    """
    from ratesflow.workflow.client.start import start_object

    environment = context.environment()
    print_started(environment, start_object(environment, address), as_json)
