"""The forms in which an answer can be had, and the keys under which answers are known."""

import falcon
from falcon.util import mediatypes

JSON = falcon.MEDIA_JSON
CSV = "text/csv; charset=utf-8; header=present"

# Changes whenever the same rates are written differently: part of the key, and so of the ETag.
FORMATS = {JSON: "json1", CSV: "csv1"}


def negotiate(accept: str | None) -> str:
    """Return the media type to answer with: CSV for those who prefer it, JSON for all others."""
    if accept is None or "text/csv" not in accept:
        return JSON
    try:
        return CSV if mediatypes.best_match(["text/csv", JSON], accept) == "text/csv" else JSON
    except ValueError:
        return JSON


def prefers_html(accept: str | None) -> bool:
    """Return whether a browser asks, rather than a program."""
    if accept is None or "text/html" not in accept:
        return False
    try:
        return mediatypes.best_match([JSON, "text/html"], accept) == "text/html"
    except ValueError:
        return False


def rates_key(query_string: str, media_type: str) -> str:
    """Return the key of an answer of ``/rates``: as the client wrote it, so that nothing need be parsed."""
    return f"{FORMATS[media_type]}?{query_string}"
