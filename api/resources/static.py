"""Texts that never change while the service runs: pages, scripts, the OpenAPI document."""

import gzip
import hashlib

import falcon

# Our pages load everything from this service, and contain no inline scripts.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Text:
    """A text with its ETag and its compressed form."""

    def __init__(self, body: bytes, media_type: str, *, cache_control: str = "public, max-age=300") -> None:
        self.body = body
        self.compressed = gzip.compress(body, 9, mtime=0)
        self.media_type = media_type
        self.hash = hashlib.sha256(body).hexdigest()[:16]
        self.cache_control = cache_control

    def respond(self, request: falcon.Request, response: falcon.Response, *, vary: str = "Accept-Encoding") -> None:
        """Fill `response` with the text, or with 304 if the client has it."""
        accepted = request.get_header("Accept-Encoding") or ""
        zipped = "gzip" in accepted and "gzip;q=0" not in accepted
        etag = f'"{self.hash}{"-gzip" if zipped else ""}"'
        for name, value in SECURITY.items():
            response.set_header(name, value)
        response.set_header("ETag", etag)
        response.set_header("Vary", vary)
        response.set_header("Cache-Control", self.cache_control)
        if any(tag == "*" or f'"{tag}"' == etag for tag in request.if_none_match or []):
            response.status = falcon.HTTP_304
            return
        response.content_type = self.media_type
        response.data = self.compressed if zipped else self.body
        if zipped:
            response.set_header("Content-Encoding", "gzip")


class TextResource:
    """One text at one address."""

    def __init__(self, text: Text) -> None:
        self._text = text

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Respond with the text."""
        self._text.respond(request, response)

    on_head = on_get
