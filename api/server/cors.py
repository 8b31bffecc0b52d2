"""Headers that let pages of other origins read responses (Fetch Standard, "CORS protocol"); by default none may."""

from collections.abc import Iterable

Headers = list[tuple[str, str]]

PREFLIGHT = [
    ("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS"),
    ("Access-Control-Allow-Headers", "Accept, If-None-Match, X-Request-Id"),
    ("Access-Control-Max-Age", "86400"),
]
EXPOSED = ("Access-Control-Expose-Headers", "ETag, Retry-After, X-Request-Id")


class Cors:
    """`origins` look like ``https://example.com``; ``*`` allows all."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origins)

    def headers(self, origin: str | None) -> Headers:
        """Return the headers to add to a response. ``Vary`` is added for every origin: CDNs must cache by it."""
        if "*" in self._origins:
            return [("Access-Control-Allow-Origin", "*"), EXPOSED]
        headers = [("Vary", "Origin")]
        if origin in self._origins and origin is not None:
            headers += [("Access-Control-Allow-Origin", origin), EXPOSED]
        return headers
