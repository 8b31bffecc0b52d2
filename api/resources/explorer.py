"""The explorer at ``/``, for browsers, and the files that it and the documentation page load."""

from collections.abc import Mapping
from pathlib import Path

import falcon
import orjson

from ratesflow.api.resources.content_negotiation import prefers_html
from ratesflow.api.resources.static import Text

STATIC = Path(__file__).parents[1] / "static"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": falcon.MEDIA_HTML,
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
MESSAGE = (
    "ratesflow serves freight prices: GET /rates?date_from=2021-01-01&date_to=2021-01-31"
    "&orig_code=CNGGZ&dest_code=EETLL returns the number of prices and their average for every day; "
    "orig_code and dest_code are codes of ports or slugs of regions. GET /ports and GET /regions list them, "
    "GET /docs is the documentation, and GET /openapi.json the OpenAPI document."
)


def assets() -> dict[str, Text]:
    """Read the files under ``static``, by name; they are few and small."""
    # Pages refer to each with its hash, so that browsers may cache it forever.
    kept = "public, max-age=31536000, immutable"
    return {
        path.name: Text(path.read_bytes(), MEDIA_TYPES[path.suffix], cache_control=kept)
        for path in sorted(STATIC.iterdir())
        if path.suffix in MEDIA_TYPES and path.suffix != ".html"
    }


def page(html: str, files: Mapping[str, Text]) -> Text:
    """Return a page in which each address of a static file contains the hash of the file."""
    for name, text in files.items():
        html = html.replace(f'"/static/{name}"', f'"/static/{name}?v={text.hash}"')
    return Text(html.encode(), falcon.MEDIA_HTML, cache_control="no-cache")


class ExplorerResource:
    """The explorer for browsers, and a short message for programs."""

    def __init__(self, files: Mapping[str, Text]) -> None:
        self._page = page((STATIC / "explorer.html").read_text(encoding="utf-8"), files)

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Respond with the page, or with a message that names the endpoints."""
        if prefers_html(request.get_header("Accept")):
            self._page.respond(request, response, vary="Accept, Accept-Encoding")
        else:
            response.set_header("Vary", "Accept, Accept-Encoding")
            response.set_header("Cache-Control", "public, max-age=300")
            response.data = orjson.dumps({"message": MESSAGE})

    on_head = on_get


class StaticResource:
    """The static files, by name."""

    def __init__(self, files: Mapping[str, Text]) -> None:
        self._files = files

    def on_get(self, request: falcon.Request, response: falcon.Response, name: str) -> None:
        """Respond with the file. Raises HTTPRouteNotFound."""
        if name not in self._files:
            raise falcon.HTTPRouteNotFound
        self._files[name].respond(request, response)

    on_head = on_get
