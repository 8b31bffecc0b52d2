"""How commands print a validation report: the first errors, and where all of them are."""

from collections.abc import Mapping
from typing import Any

from ratesflow.workflow.cli.output import echo, print_table
from ratesflow.workflow.client.reports import extent_of_list, unknown_ports

ERRORS_SHOWN = 10


def print_errors(report: Mapping[str, Any], address: str | None, end: str = "") -> None:
    """Print the errors of a rejected file; `address` is where its report is, `end` what follows the count."""
    errors = report["errors"][:ERRORS_SHOWN]
    echo(f"{_rejected(report)}{end}.")
    if errors:
        columns = ("line", "column", "value", "message")
        print_table(columns, [[error[name] for name in columns] for error in errors], right=("line",))
    more = sum(report["reasons"].values()) - len(errors)
    if more > 0:
        echo(f"… and {more:,} more")
    if ports := unknown_ports(report):
        echo(f"unknown ports: {ports}")
    for label, place in (("report", address), (extent_of_list(report), report.get("full_report"))):
        if place:
            echo(f"{label}: {place}")


def _rejected(report: Mapping[str, Any]) -> str:
    count = report["rejected_rows"]
    if not count:
        return "The file was rejected"
    return f"{count:,} of {report['rows']:,} rows {'was' if count == 1 else 'were'} rejected"
