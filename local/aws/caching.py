"""Caches results that moto recomputes for each request or execution."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from moto import backends
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.parse.preprocessor import Preprocessor


def install() -> None:
    """Install the caches."""
    _parse_each_definition_once()
    _list_services_once()


def _parse_each_definition_once() -> None:
    """Cache parsed definitions; moto parses one several times at its creation and again in each execution."""
    parse = AmazonStateLanguageParser.parse

    @lru_cache(maxsize=16)
    def tree(definition: str) -> Any:
        return parse(definition)[1]

    def parsed(definition: str) -> Any:
        cached = tree(definition)  # immutable; each execution builds its own objects from it
        return Preprocessor().visit(cached), cached

    AmazonStateLanguageParser.parse = staticmethod(parsed)


def _list_services_once() -> None:
    """Cache the list of services; moto scans its package directory at each request."""
    services = tuple(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: services
