"""Asks the API for the average prices of a lane and draws them."""

import json
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from ratesflow.workflow.cli.context import CliContext, json_option, print_json, print_table
from ratesflow.workflow.client.environment import Environment

if TYPE_CHECKING:
    from urllib.error import HTTPError

BARS = "▁▂▃▄▅▆▇█"
SECONDS = 30


class ApiError(Exception):
    """The API refuses; the text is what it says."""


class ApiAwayError(Exception):
    """The API does not answer at all."""


@click.command()
@click.argument("orig")
@click.argument("dest")
@click.option("--from", "date_from", required=True, metavar="DATE", help="First day, such as 2021-01-01.")
@click.option("--to", "date_to", required=True, metavar="DATE", help="Last day.")
@json_option
@click.pass_obj
def rates(context: CliContext, orig: str, dest: str, date_from: str, date_to: str, as_json: bool) -> None:
    """Ask for the average price per day from ORIG to DEST: port codes, or slugs of regions.

    A day with fewer than 3 prices has a count and no average.

    \b
    Example:
      ratesflow rates CNGGZ EETLL --from 2021-01-01 --to 2021-01-31

    Exit codes: 0 answered, 1 the API refuses (the message says which parameter), 2 no date, 69 no stack.
    """
    for name, value in (("--from", date_from), ("--to", date_to)):
        try:
            date.fromisoformat(value)
        except ValueError as error:
            raise click.BadParameter(f"{value!r} is no date such as 2021-01-31", param_hint=name) from error
    query = {"date_from": date_from, "date_to": date_to, "orig_code": orig, "dest_code": dest}
    answer = ask(context.environment(), query)
    if as_json:
        print_json(answer)
        return
    days = sorted(answer["rates"], key=lambda rate: rate["day"])
    prices = [day["price"] for day in days]
    rows = [(d["day"], d["count"], "" if d["price"] is None else f"{d['price']:,.2f}") for d in days]
    print_table(("day", "prices", "average"), rows, right=("prices", "average"))
    if any(price is not None for price in prices):
        known = [price for price in prices if price is not None]
        click.echo(f"\n{orig} → {dest}  {sparkline(prices)}  {min(known):,.2f} to {max(known):,.2f} USD")


def ask(environment: Environment, query: dict[str, str]) -> dict[str, Any]:
    """Return the answer of `GET /rates`. Raises ApiError and ApiAwayError."""
    import urllib.error
    import urllib.parse
    import urllib.request

    url = f"{environment.api_url}/rates?{urllib.parse.urlencode(query)}"
    # A proxy that the user has set for the world outside has no business with the embedded stack.
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if environment.is_local else []))
    try:
        with opener.open(url, timeout=SECONDS) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        raise ApiError(_problem(error)) from error
    except (urllib.error.URLError, TimeoutError) as error:
        raise ApiAwayError(f"The API at {environment.api_url} does not answer ({error}): is the stack up?") from error


def _problem(error: "HTTPError") -> str:
    """Return what a problem document (RFC 9457) says, or the status."""
    try:
        problem = json.load(error)
        return f"The API refuses ({error.code}): {problem.get('detail') or problem['title']}"
    except (ValueError, KeyError, AttributeError):
        return f"The API refuses: {error.code} {error.reason}"


def sparkline(values: list[float | None]) -> str:
    """Return values as bars of eight heights; a gap where there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, span = min(known), (max(known) - min(known)) or 1
    return "".join(" " if v is None else BARS[int((v - low) / span * (len(BARS) - 1))] for v in values)


COMMANDS = (rates,)
