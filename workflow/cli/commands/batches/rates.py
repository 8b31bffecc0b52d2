"""`ratesflow rates`."""

from datetime import date

import click

from ratesflow.workflow.cli.context import CliContext
from ratesflow.workflow.cli.output import json_option, print_json, print_table

BARS = "▁▂▃▄▅▆▇█"


@click.command()
@click.argument("orig")
@click.argument("dest")
@click.option("--from", "date_from", required=True, metavar="DATE", help="First day, such as 2021-01-01.")
@click.option("--to", "date_to", required=True, metavar="DATE", help="Last day.")
@json_option
@click.pass_obj
def rates(context: CliContext, orig: str, dest: str, date_from: str, date_to: str, as_json: bool) -> None:
    """Query the API for the average price of a lane, day by day.

    ORIG and DEST are port codes or region slugs. A day with fewer than 3 prices has a count and no average.

    \b
    Example:
      ratesflow rates CNGGZ EETLL --from 2021-01-01 --to 2021-01-31

    Exit codes: 0 printed, 1 the API rejected the request (the message names the parameter), 2 invalid date,
    69 no stack.
    """
    from ratesflow.workflow.client.rates import get_rates

    for name, value in (("--from", date_from), ("--to", date_to)):
        try:
            date.fromisoformat(value)
        except ValueError as error:
            raise click.BadParameter(f"{value!r} is not a date (YYYY-MM-DD)", param_hint=name) from error
    query = {"date_from": date_from, "date_to": date_to, "orig_code": orig, "dest_code": dest}
    response = get_rates(context.environment(), query)
    if as_json:
        print_json(response)
        return
    days = sorted(response["rates"], key=lambda rate: rate["day"])
    prices = [day["price"] for day in days]
    rows = [(d["day"], d["count"], "" if d["price"] is None else f"{d['price']:,.2f}") for d in days]
    print_table(("day", "prices", "average"), rows, right=("prices", "average"))
    averages = [price for price in prices if price is not None]
    if averages:
        click.echo(f"\n{orig} → {dest}  {sparkline(prices)}  {min(averages):,.2f} to {max(averages):,.2f} USD")


def sparkline(values: list[float | None]) -> str:
    """Return values as bars of eight heights, with a gap for None."""
    present = [value for value in values if value is not None]
    if not present:
        return ""
    low, span = min(present), (max(present) - min(present)) or 1
    return "".join(" " if v is None else BARS[int((v - low) / span * (len(BARS) - 1))] for v in values)
