"""``GET /ports`` and ``GET /regions``: all locations, with their names."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import falcon
import orjson

from ratesflow.api.cache.response_cache import Content, Lookup, ResponseCache
from ratesflow.api.models.rates import RatesReader, ReferenceData
from ratesflow.api.models.versions import REFERENCE_DATA
from ratesflow.api.resources.conditional import respond
from ratesflow.api.resources.content_negotiation import JSON


class LocationsResource:
    """The ports or the regions, as `build` makes them from all locations."""

    def __init__(
        self, reader: RatesReader, cache: ResponseCache, path: str, build: Callable[[ReferenceData], dict[str, Any]]
    ) -> None:
        self._reader = reader
        self._cache = cache
        self._lookup = Lookup(path, REFERENCE_DATA)
        self._build = build

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Respond with the document."""
        respond(request, response, self._cache, self._lookup, self._load)

    on_head = on_get

    def _load(self, deadline: float) -> Content:
        reference = self._reader.reference_data(deadline)
        return Content(reference.version, JSON, orjson.dumps(self._build(reference)))


def ports_document(reference: ReferenceData) -> dict[str, Any]:
    """Return every port, and the smallest region that contains it."""
    ports = [{"code": port.key, "name": port.name, "parent_slug": port.parent_slug} for port in reference.ports]
    return {"ports": ports}


def regions_document(reference: ReferenceData) -> dict[str, Any]:
    """Return the top-level regions, each with the regions and ports directly under it."""
    return {"regions": region_tree(reference)}


def region_tree(reference: ReferenceData) -> list[dict[str, Any]]:
    """Return the top-level regions; each has its `regions`, and the codes of the `ports` directly under it."""
    ports: dict[str | None, list[str]] = defaultdict(list)
    for port in reference.ports:
        ports[port.parent_slug].append(port.key)
    nodes: dict[str, dict[str, Any]] = {
        region.key: {
            "slug": region.key,
            "name": region.name,
            "parent_slug": region.parent_slug,
            "ports": ports[region.key],
            "regions": [],
        }
        for region in reference.regions
    }
    tops: list[dict[str, Any]] = []
    for node in nodes.values():
        (nodes[node["parent_slug"]]["regions"] if node["parent_slug"] in nodes else tops).append(node)
    return tops
