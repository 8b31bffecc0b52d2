"""``GET /rates``: the rates between two locations, day by day."""

import falcon
from falcon.uri import parse_query_string

from ratesflow.api.cache.response_cache import CachedResponse, Content, Lookup, ResponseCache, Source
from ratesflow.api.models.rates import Location, Rates, RatesQuery, RatesReader, bucket_of
from ratesflow.api.resources.conditional import respond
from ratesflow.api.resources.content_negotiation import CSV, JSON, negotiate, rates_key
from ratesflow.api.resources.parameters import quoted, rates_query
from ratesflow.api.resources.problems import InvalidParameter, ProblemError
from ratesflow.api.resources.serializers import rates_csv, rates_json


class RatesResource:
    """Every day of a range, newest first."""

    def __init__(self, reader: RatesReader, cache: ResponseCache) -> None:
        self._reader = reader
        self._cache = cache

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Respond with every day of the range, or with 304 if the client has the current response."""
        query = rates_query(request.params)
        media_type = negotiate(request.get_header("Accept"))
        lookup = _question(request.query_string, media_type, query)
        respond(request, response, self._cache, lookup, lambda deadline: self._load(query, media_type, deadline))

    on_head = on_get

    def response_to(self, query_string: str, media_type: str) -> tuple[CachedResponse, Source]:
        """Return the response to an unconditional request, and its source; raise what `on_get` raises."""
        query = rates_query(parse_query_string(query_string, keep_blank=True))
        lookup = _question(query_string, media_type, query)
        return self._cache.get_or_load(lookup, lambda deadline: self._load(query, media_type, deadline))

    def _load(self, query: RatesQuery, media_type: str, deadline: float) -> Content:
        found = self._reader.rates(query, deadline) if query.orig.kind and query.dest.kind else None
        if found is None or not (found.orig_known and found.dest_known):
            raise self._unknown(query.orig, query.dest, found, deadline)
        if media_type == JSON:
            return Content(found.version, JSON, rates_json(query.date_from, query.date_to, found.months))
        return Content(found.version, CSV, rates_csv(query.date_from, query.date_to, found.months))

    def _unknown(self, orig: Location, dest: Location, found: Rates | None, deadline: float) -> ProblemError:
        """Return the error that names each unknown location and suggests similar ones."""
        known = (found.orig_known, found.dest_known) if found else (orig.kind is not None, dest.kind is not None)
        invalid = [
            InvalidParameter(parameter, self._unknown_detail(parameter, location.text, deadline))
            for parameter, location, is_known in zip(("orig_code", "dest_code"), (orig, dest), known, strict=True)
            if not is_known
        ]
        return ProblemError.of_parameters(404, "unknown-location", "Unknown location", invalid)

    def _unknown_detail(self, parameter: str, text: str, deadline: float) -> str:
        detail = f"{parameter} is {quoted(text)}, which is neither a port's code nor a region's slug"
        if similar := self._reader.similar(text, deadline):
            return f"{detail}; did you mean {' or '.join(similar)}?"
        return f"{detail}; codes look like CNGGZ, slugs like china_main"


def _question(query_string: str, media_type: str, query: RatesQuery) -> Lookup:
    return Lookup(rates_key(query_string, media_type), bucket_of(query.orig, query.dest))
