"""Responds from the cache, or with 304 if the client has the current response."""

from collections.abc import Callable

import falcon

from ratesflow.api.cache.response_cache import Content, Lookup, ResponseCache

# The key of the WSGI environment with the source of a response, for metrics and the access log.
SOURCE = "ratesflow.source"


def respond(
    request: falcon.Request,
    response: falcon.Response,
    cache: ResponseCache,
    lookup: Lookup,
    load: Callable[[float], Content],
) -> None:
    """Fill `response` from the cache or from `load`; with 304 if an ETag of the request is valid."""
    deadline = cache.deadline()
    sent = [str(tag) for tag in request.if_none_match or []]
    if sent:
        cache.reach(sent)
    if tag := cache.unchanged(sent, lookup):
        # Only a client that has received this response has its ETag: the parameters need no check.
        request.env[SOURCE] = "not_modified"
        return _not_modified(response, cache, tag)
    cached, request.env[SOURCE] = cache.get_or_load(lookup, load, deadline)
    if cached.etag.strip('"') in sent or "*" in sent:
        return _not_modified(response, cache, cached.etag)
    if tag := cache.unchanged(sent, lookup):
        return _not_modified(response, cache, tag)
    for name, value in cached.headers:
        response.set_header(name, value)
    response.data = cached.body
    return None


def _not_modified(response: falcon.Response, cache: ResponseCache, etag: str) -> None:
    response.status = falcon.HTTP_304
    for name, value in [("ETag", etag), *cache.headers]:
        response.set_header(name, value)
