"""The service as a WSGI application; it does not read the environment or open connections."""

import falcon
import orjson

from ratesflow.api.cache.response_cache import ResponseCache
from ratesflow.api.models.errors import OverloadedError
from ratesflow.api.models.rates import RatesReader
from ratesflow.api.resources import problems
from ratesflow.api.resources.docs_page import docs_page
from ratesflow.api.resources.explorer import ExplorerResource, StaticResource, assets, page
from ratesflow.api.resources.locations import LocationsResource, ports_document, regions_document
from ratesflow.api.resources.openapi import specification
from ratesflow.api.resources.rates import RatesResource
from ratesflow.api.resources.static import Text, TextResource

FalconApp = falcon.App[falcon.Request, falcon.Response]


def create_app(reader: RatesReader, cache: ResponseCache, rates: RatesResource) -> FalconApp:
    """Return the application; `rates` serves ``/rates``, and `reader` reads what is not in the cache."""
    app: FalconApp = falcon.App(media_type=falcon.MEDIA_JSON)
    files = assets()
    document = specification()
    app.add_route("/", ExplorerResource(files))
    app.add_route("/static/{name}", StaticResource(files))
    app.add_route("/docs", TextResource(page(docs_page(document), files)))
    app.add_route("/openapi.json", TextResource(Text(orjson.dumps(document), falcon.MEDIA_JSON)))
    app.add_route("/rates", rates)
    app.add_route("/ports", LocationsResource(reader, cache, "/ports", ports_document))
    app.add_route("/regions", LocationsResource(reader, cache, "/regions", regions_document))
    app.add_route("/health/live", LiveResource())
    app.add_route("/health/started", StartedResource(reader))
    app.add_route("/health/ready", ReadyResource(reader))
    problems.install(app)
    return app


class LiveResource:
    """Whether the process responds; it never queries the database."""

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        """Respond that it is alive."""
        response.data = b'{"status":"live"}'
        response.set_header("Cache-Control", "no-store")

    on_head = on_get


class StartedResource:
    """Whether this process has reached the database since it started: the health check of a deployment.

    It stays so if the database is unavailable later: a new process would not reach it either, and has an empty cache.
    """

    def __init__(self, reader: RatesReader) -> None:
        self._reader = reader
        self._has_started = False

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        """Respond that it has started. Before that, raises DatabaseUnavailableError, which becomes a 503."""
        if not self._has_started:
            self._reader.check()
            self._has_started = True
        response.data = b'{"status":"started"}'
        response.set_header("Cache-Control", "no-store")

    on_head = on_get


class ReadyResource:
    """Whether requests can be served now."""

    def __init__(self, reader: RatesReader) -> None:
        self._reader = reader

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        """Respond that it is ready. If the database is unavailable, raises DatabaseUnavailableError, which is a 503.

        Busy counts as ready: removing a busy task from the load balancer would make the others busier.
        """
        try:
            self._reader.check()
            response.data = b'{"status":"ready"}'
        except OverloadedError:
            response.data = b'{"status":"busy"}'
        response.set_header("Cache-Control", "no-store")

    on_head = on_get
