"""Answers requests with what is known, or with 304 to those who have it already."""

from collections.abc import Callable

import falcon

from api.known import Content, KnownAnswers

# Where the front finds how an answer came about.
SOURCE = "ratesflow.source"


def respond(
    request: falcon.Request, response: falcon.Response, known: KnownAnswers, key: str, load: Callable[[], Content]
) -> None:
    """Fill `response` with the answer of that key, which `load` gives if it is not known."""
    sent = [str(tag) for tag in request.if_none_match or []]
    for tag in sent:
        known.must_be_newer(tag)
    current = known.current_etag(key)
    if current is not None and current.strip('"') in sent:
        # Only who was given this answer can have its ETag: there is no need to look further.
        _not_modified(response, known, current)
        request.env[SOURCE] = "unchanged"
        return
    answer, request.env[SOURCE] = known.answer(key, load)
    if answer.etag.strip('"') in sent or "*" in sent:
        _not_modified(response, known, answer.etag)
        return
    for name, value in answer.headers:
        response.set_header(name, value)
    response.data = answer.body


def _not_modified(response: falcon.Response, known: KnownAnswers, etag: str) -> None:
    response.status = falcon.HTTP_304
    for name, value in [("ETag", etag), *known.headers]:
        response.set_header(name, value)
