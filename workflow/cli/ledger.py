"""What touches the database, run as tasks: the ledger, the clean-up, the schema, the reference data."""

import sys
import uuid
from pathlib import Path
from typing import Any

import click

from ratesflow.workflow.cli.autocompletion import complete_execution
from ratesflow.workflow.cli.context import FAILED, CliContext, echo, json_option, print_json, print_table, say
from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.history import seconds_in_words
from ratesflow.workflow.timestamps import iso, moment

STATES = ("all", "open", "committed", "rejected", "duplicate", "failed", "undone")


@click.command()
@click.option("--limit", default=20, show_default=True, help="How many at most.")
@click.option("--state", type=click.Choice(STATES), default="all", show_default=True, help="Only those in this state.")
@json_option
@click.pass_obj
def batches(context: CliContext, limit: int, state: str, as_json: bool) -> None:
    """List the ledger: every batch ever seen, its outcome and its counts, newest first.

    worked is how long its tasks were at work; `ratesflow executions` has how long all of it took, waits included.
    Moments are in UTC.

    \b
    Example:
      ratesflow batches --state rejected

    Exit codes: 0 listed, 1 the task failed, 69 no stack, 75 the task goes on.
    """
    document = _run(context.environment(), "ledger", {"limit": str(limit), "state": state})
    rows = document["data"] or []
    if as_json:
        print_json([_with_moments(row) for row in rows])
        return
    columns = ("no", "state", "rows", "refused", "worked", "opened", "batch", "message")
    cells = [
        (
            row["batch_no"],
            row["state"] + (" (forced)" if row.get("forced") else ""),
            row["rows"],
            row["rejected_rows"] or None,
            seconds_in_words(sum(row["seconds"].values())) if row["seconds"] else "",
            moment(row["opened_at"]),
            row["batch_id"],
            (row["message"] or "")[:60],
        )
        for row in rows
    ]
    print_table(columns, cells, right=("no", "rows", "refused", "worked"))


def _with_moments(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the ledger with its moments as every command writes them."""
    return {name: iso(value) if name.endswith("_at") and value else value for name, value in row.items()}


@click.command()
@click.option("--batch", default="all", show_default=True, shell_complete=complete_execution, help="Only this batch.")
@json_option
@click.pass_obj
def gc(context: CliContext, batch: str, as_json: bool) -> None:
    """Close what stopped or timed-out executions left open, and start objects that nobody saw.

    It also runs by schedule; running it twice does no harm.

    \b
    Example:
      ratesflow gc

    Exit codes: 0 done, 1 the task failed, 69 no stack, 75 the task goes on.
    """
    _tell(_run(context.environment(), "gc", {"batch": batch}), as_json)


@click.command()
@click.argument("batch", shell_complete=complete_execution)
@json_option
@click.pass_obj
def undo(context: CliContext, batch: str, as_json: bool) -> None:
    """Take one committed batch out again, exactly and all at once; its file may then be sent again.

    Undoing a batch that is undone already does no harm.

    \b
    Example:
      ratesflow undo prices-2021-01-0123456789abcdef

    Exit codes: 0 undone, 1 there is no such batch or it was never committed, 69 no stack, 75 the task goes on.
    """
    if not batch.strip():
        raise click.BadParameter("name the batch to undo: see `ratesflow batches`", param_hint="BATCH")
    _tell(_run(context.environment(), "undo", {"batch": batch}), as_json)


@click.command()
@click.option("--least", default=1, show_default=True, help="Only if so many batches are waiting to be merged.")
@json_option
@click.pass_obj
def compact(context: CliContext, least: int, as_json: bool) -> None:
    """Merge the rates of committed batches, so that reads stay as fast as with one batch.

    It also runs by schedule, when 16 batches are waiting. Readers see no difference, and wait for nothing.

    \b
    Example:
      ratesflow compact

    Exit codes: 0 done, 1 the task failed, 69 no stack, 75 the task goes on.
    """
    _tell(_run(context.environment(), "compact", {"min_batches": str(least)}), as_json)


@click.command()
@json_option
@click.pass_obj
def migrate(context: CliContext, as_json: bool) -> None:
    """Bring the database's schema up to date; running it twice does no harm.

    \b
    Example:
      ratesflow --env prod migrate

    Exit codes: 0 up to date, 1 the task failed, 69 no stack, 75 the task goes on.
    """
    _tell(_run(context.environment(), "migrate", {}), as_json)


@click.group()
def reference() -> None:
    """The ports and regions that prices are checked against.

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
    """Load or update ports (code,name,parent_slug) and regions (slug,name,parent_slug).

    A cycle or an orphan is refused, and then nothing changes. Rates of regions that change are built anew.

    \b
    Example:
      ratesflow reference load ports.csv regions.csv

    Exit codes: 0 loaded, 1 refused or failed (the message says why), 69 no stack, 75 the task goes on.
    """
    environment = context.environment()
    s3, folder = environment.client("s3"), f"reference/{uuid.uuid4()}"
    keys = {"ports": f"{folder}/ports.csv", "regions": f"{folder}/regions.csv"}
    for file, key in ((ports, keys["ports"]), (regions, keys["regions"])):
        s3.upload_file(str(file), environment.bucket, key)
    document = _run(environment, "reference", keys)
    if document["outcome"] == "rejected" and not as_json:
        raise click.ClickException(f"refused, nothing has changed: {document['message']}")
    _tell(document, as_json)
    sys.exit(FAILED if document["outcome"] == "rejected" else 0)


def _run(environment: Environment, task: str, arguments: dict[str, str]) -> dict[str, Any]:
    from ratesflow.workflow.cli.progress import Progress
    from ratesflow.workflow.client.run_task import run_task

    with Progress() as progress:
        row = progress.row()
        return run_task(environment, task, arguments, progress=lambda status: row.show(task, None, status.lower()))


def _tell(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    echo(document.get("message") or document["outcome"])
    if document.get("seconds"):
        say(f"worked {seconds_in_words(document['seconds'])}")


COMMANDS = (batches, compact, gc, migrate, reference, undo)
