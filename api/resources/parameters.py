"""Parses and checks the parameters of ``/rates``; each error describes what to send instead."""

import re
from collections.abc import Callable, Mapping
from datetime import date
from difflib import get_close_matches
from typing import TypeVar

from ratesflow.api.models.rates import Location, RatesQuery
from ratesflow.api.resources.problems import InvalidParameter, ProblemError

PARAMETERS = {
    "date_from": "the first day, such as 2021-01-01",
    "date_to": "the last day, such as 2021-01-31",
    "orig_code": "the origin: a port's code, such as CNGGZ, or a region's slug, such as china_main",
    "dest_code": "the destination: a port's code, such as EETLL, or a region's slug, such as baltic",
}
MAX_DAYS = 3660  # a little more than ten years

T = TypeVar("T")

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
# The checks of the tables ports and regions: a text that matches neither is in neither table.
PORT_CODE = re.compile(r"[A-Z]{2}[A-Z2-9]{3}", re.ASCII)
_REGION = re.compile(r"[a-z0-9][a-z0-9_-]{0,199}", re.ASCII)


def rates_query(parameters: Mapping[str, str | list[str]]) -> RatesQuery:
    """Parse the parameters of a request; a list is a repeated one. Other parameters are ignored.

    Raises ProblemError (400), which lists every invalid parameter.
    """
    try:
        first, last = _day(parameters["date_from"]), _day(parameters["date_to"])  # type: ignore[arg-type]
        orig, dest = location(parameters["orig_code"]), location(parameters["dest_code"])  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError):  # one is missing, repeated or invalid: collect all errors
        raise _problem(parameters) from None
    if not (orig.text and dest.text) or _range_error(first, last):
        raise _problem(parameters)
    return RatesQuery(first, last, orig, dest)


def location(text: str) -> Location:
    """Return the location with its kind: codes of ports are upper case, slugs of regions lower case."""
    if PORT_CODE.fullmatch(text):
        return Location(text, "port")
    return Location(text, "region" if _REGION.fullmatch(text) else None)


def _problem(parameters: Mapping[str, str | list[str]]) -> ProblemError:
    invalid: list[InvalidParameter] = []
    first = _read("date_from", parameters, _day, invalid)
    last = _read("date_to", parameters, _day, invalid)
    _read("orig_code", parameters, location, invalid)
    _read("dest_code", parameters, location, invalid)
    if first and last and (error := _range_error(first, last)):
        invalid.append(error)
    return ProblemError.of_parameters(400, "invalid-parameters", "Invalid parameters", invalid)


def quoted(text: str) -> str:
    """Return a client's text for a message: in quotes, and shortened to a line."""
    return repr(text if len(text) <= 60 else text[:60] + "…")


def _read(
    name: str, parameters: Mapping[str, str | list[str]], parse: Callable[[str], T], invalid: list[InvalidParameter]
) -> T | None:
    value = parameters.get(name)
    if isinstance(value, list):
        invalid.append(InvalidParameter(name, f"{name} occurs {len(value)} times; send it once"))
    elif not value:
        invalid.append(
            InvalidParameter(name, f"{name} is missing: send {PARAMETERS[name]}{_misspelt(name, parameters)}")
        )
    else:
        try:
            return parse(value)
        except ValueError as error:
            invalid.append(InvalidParameter(name, f"{name} is {quoted(value)}, {error}"))
    return None


def _misspelt(name: str, parameters: Mapping[str, str | list[str]]) -> str:
    unknown = [other for other in list(parameters)[:50] if other not in PARAMETERS and len(other) < 30]
    similar = get_close_matches(name, unknown, n=1, cutoff=0.5)
    return f" (you sent {quoted(similar[0])}, which is not a parameter)" if similar else ""


def _day(text: str) -> date:
    if not _DAY.fullmatch(text):
        raise ValueError("which is not a date; write it as YYYY-MM-DD, such as 2021-01-31")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("which is not a day of the calendar; years are 0001 to 9999") from None


def _range_error(first: date, last: date) -> InvalidParameter | None:
    days = (last - first).days + 1
    if 1 <= days <= MAX_DAYS:
        return None
    if days < 1:
        return InvalidParameter("date_to", f"date_to ({last}) is before date_from ({first}); swap them")
    return InvalidParameter("date_to", f"{first} to {last} is {days:,} days; request at most {MAX_DAYS:,} at a time")
