"""Which pages of other origins may read the answers (Fetch Standard, "CORS protocol"); none, unless told."""

from collections.abc import Iterable

Headers = list[tuple[str, str]]

PREFLIGHT = [
    ("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS"),
    ("Access-Control-Allow-Headers", "Accept, If-None-Match, X-Request-Id"),
    ("Access-Control-Max-Age", "86400"),
]
EXPOSED = ("Access-Control-Expose-Headers", "ETag, Retry-After, X-Request-Id")


class Cors:
    """`origins` are such as ``https://example.com``; ``*`` stands for all."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origins)

    def headers(self, origin: str | None) -> Headers:
        """Return what is added to an answer, whoever asks: a CDN must keep the answers apart."""
        if "*" in self._origins:
            return [("Access-Control-Allow-Origin", "*"), EXPOSED]
        headers = [("Vary", "Origin")]
        if origin in self._origins and origin is not None:
            headers += [("Access-Control-Allow-Origin", origin), EXPOSED]
        return headers
