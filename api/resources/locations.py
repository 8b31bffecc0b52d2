"""``GET /ports`` and ``GET /regions``: what can be asked for, by name."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import falcon
import orjson

from ratesflow.api.cache.response_cache import Content, Question, ResponseCache
from ratesflow.api.models.rates import Places, RatesReader
from ratesflow.api.models.versions import PLACES
from ratesflow.api.resources.conditional import respond
from ratesflow.api.resources.content_negotiation import JSON


class LocationsResource:
    """The ports or the regions, as `build` makes them from all locations."""

    def __init__(
        self, reader: RatesReader, known: ResponseCache, path: str, build: Callable[[Places], dict[str, Any]]
    ) -> None:
        self._reader = reader
        self._known = known
        self._question = Question(path, PLACES)
        self._build = build

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Respond with the document."""
        respond(request, response, self._known, self._question, self._load)

    on_head = on_get

    def _load(self, deadline: float) -> Content:
        places = self._reader.places(deadline)
        return Content(places.version, JSON, orjson.dumps(self._build(places)))


def ports_document(places: Places) -> dict[str, Any]:
    """Return every port, and the smallest region that contains it."""
    return {"ports": [{"code": port.key, "name": port.name, "parent_slug": port.parent_slug} for port in places.ports]}


def regions_document(places: Places) -> dict[str, Any]:
    """Return the regions at the top, each with the regions and the ports directly under it."""
    return {"regions": region_tree(places)}


def region_tree(places: Places) -> list[dict[str, Any]]:
    """Return the regions at the top; each has its `regions`, and the codes of the `ports` right under it."""
    ports: dict[str | None, list[str]] = defaultdict(list)
    for port in places.ports:
        ports[port.parent_slug].append(port.key)
    nodes: dict[str, dict[str, Any]] = {
        region.key: {
            "slug": region.key,
            "name": region.name,
            "parent_slug": region.parent_slug,
            "ports": ports[region.key],
            "regions": [],
        }
        for region in places.regions
    }
    tops: list[dict[str, Any]] = []
    for node in nodes.values():
        (nodes[node["parent_slug"]]["regions"] if node["parent_slug"] in nodes else tops).append(node)
    return tops
