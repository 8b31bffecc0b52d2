"""Caches what moto computes again, with the same result, at each request or execution."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from moto import backends
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.parse.preprocessor import Preprocessor


def install() -> None:
    """Lets moto do each of these once."""
    _parse_each_definition_once()
    _list_services_once()


def _parse_each_definition_once() -> None:
    """moto parses a definition several times when it is created, and once more in each execution of it."""
    parse = AmazonStateLanguageParser.parse

    @lru_cache(maxsize=16)
    def tree(definition: str) -> Any:
        return parse(definition)[1]

    def parsed(definition: str) -> Any:
        known = tree(definition)  # it does not change; what is made of it is of one execution
        return Preprocessor().visit(known), known

    AmazonStateLanguageParser.parse = staticmethod(parsed)


def _list_services_once() -> None:
    """moto looks through its own folder at each request."""
    services = tuple(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: services
