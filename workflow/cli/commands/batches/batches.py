"""`ratesflow batches`."""

from typing import Any

import click

from ratesflow.workflow.cli.context import CliContext
from ratesflow.workflow.cli.database_task import run_database_task
from ratesflow.workflow.cli.output import json_option, print_json, print_table
from ratesflow.workflow.client.history import format_seconds
from ratesflow.workflow.timestamps import iso, moment

STATES = ("all", "open", "committed", "rejected", "duplicate", "failed", "undone")


@click.command()
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Maximum to list.")
@click.option("--state", type=click.Choice(STATES), default="all", show_default=True, help="List only this state.")
@json_option
@click.pass_obj
def batches(context: CliContext, limit: int, state: str, as_json: bool) -> None:
    """List the ledger: every batch with its outcome, newest first.

    The column worked is how long the tasks ran; `ratesflow executions` shows the total time, including waits.
    Times are in UTC.

    \b
    Example:
      ratesflow batches --state rejected

    Exit codes: 0 listed, 1 the task failed, 69 no stack, 75 the task still runs.
    """
    document = run_database_task(context.environment(), "ledger", {"limit": str(limit), "state": state})
    rows = document["data"] or []
    if as_json:
        print_json([_with_iso_times(row) for row in rows])
        return
    columns = ("no", "state", "rows", "rejected", "worked", "opened", "batch", "message")
    cells = [
        (
            row["batch_no"],
            row["state"] + (" (forced)" if row.get("forced") else ""),
            row["rows"],
            row["rejected_rows"] or None,
            format_seconds(sum(row["seconds"].values())) if row["seconds"] else "",
            moment(row["opened_at"]),
            row["batch_id"],
            (row["message"] or "")[:60],
        )
        for row in rows
    ]
    print_table(columns, cells, right=("no", "rows", "rejected", "worked"))


def _with_iso_times(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the ledger with its times in the format of every command."""
    return {name: iso(value) if name.endswith("_at") and value else value for name, value in row.items()}
