"""Queries the API for rates."""

import json
from typing import TYPE_CHECKING, Any

from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.errors import ApiError, ApiUnavailableError

if TYPE_CHECKING:
    from urllib.error import HTTPError

SECONDS = 30


def get_rates(environment: Environment, query: dict[str, str]) -> dict[str, Any]:
    """Return the response of `GET /rates`. Raises ApiError and ApiUnavailableError."""
    import urllib.error
    import urllib.parse
    import urllib.request

    url = f"{environment.api_url}/rates?{urllib.parse.urlencode(query)}"
    # The embedded stack is on this machine: never use the proxy that the user has set for other hosts.
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if environment.is_local else []))
    try:
        with opener.open(url, timeout=SECONDS) as response:
            rates: dict[str, Any] = json.load(response)
            return rates
    except urllib.error.HTTPError as error:
        raise ApiError(_problem(error)) from error
    except (urllib.error.URLError, TimeoutError) as error:
        raise ApiUnavailableError(
            f"The API at {environment.api_url} does not answer ({error}): is the stack up?"
        ) from error


def _problem(error: "HTTPError") -> str:
    """Return the detail of a problem document (RFC 9457), or the status."""
    try:
        problem = json.load(error)
        return f"The API rejected the request ({error.code}): {problem.get('detail') or problem['title']}"
    except (ValueError, KeyError, AttributeError):
        return f"The API rejected the request: {error.code} {error.reason}"
