"""The media types of responses, and the keys under which responses are cached."""

import falcon
from falcon.util import mediatypes

JSON = falcon.MEDIA_JSON
CSV = "text/csv; charset=utf-8; header=present"

# Change these whenever the same rates are formatted differently: they are part of the key, and so of the ETag.
FORMATS = {JSON: "json1", CSV: "csv1"}


def negotiate(accept: str | None) -> str:
    """Return the media type of the response: CSV for clients that prefer it, otherwise JSON."""
    if accept is None or "text/csv" not in accept:
        return JSON
    try:
        return CSV if mediatypes.best_match(["text/csv", JSON], accept) == "text/csv" else JSON
    except ValueError:
        return JSON


def prefers_html(accept: str | None) -> bool:
    """Return whether the client is a browser rather than a program."""
    if accept is None or "text/html" not in accept:
        return False
    try:
        return mediatypes.best_match([JSON, "text/html"], accept) == "text/html"
    except ValueError:
        return False


def rates_key(query_string: str, media_type: str) -> str:
    """Return the cache key of a request for ``/rates``: the query string as sent, so that it need not be parsed."""
    return f"{FORMATS[media_type]}?{query_string}"
