"""Answers requests with what is known, or with 304 to those who have it already."""

from collections.abc import Callable

import falcon

from ratesflow.api.cache.response_cache import Content, Question, ResponseCache

# Where the front finds how an answer came about.
SOURCE = "ratesflow.source"


def respond(
    request: falcon.Request,
    response: falcon.Response,
    known: ResponseCache,
    question: Question,
    load: Callable[[float], Content],
) -> None:
    """Fill `response` with the answer to that question, which `load` gives, until a deadline, if it is not known."""
    deadline = known.deadline()
    sent = [str(tag) for tag in request.if_none_match or []]
    if sent:
        known.reach(sent)
    if tag := known.unchanged(sent, question):
        # Only who was given this answer can have its ETag: there is no need to look further.
        request.env[SOURCE] = "not_modified"
        return _not_modified(response, known, tag)
    answer, request.env[SOURCE] = known.answer(question, load, deadline)
    if answer.etag.strip('"') in sent or "*" in sent:
        return _not_modified(response, known, answer.etag)
    if tag := known.unchanged(sent, question):
        return _not_modified(response, known, tag)
    for name, value in answer.headers:
        response.set_header(name, value)
    response.data = answer.body
    return None


def _not_modified(response: falcon.Response, known: ResponseCache, etag: str) -> None:
    response.status = falcon.HTTP_304
    for name, value in [("ETag", etag), *known.headers]:
        response.set_header(name, value)
