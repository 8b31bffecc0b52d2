"""Fixtures of the embedded stack and of the API service."""

from tests.api.conftest import client, module_database, owner, owner_url, reader_url, service
from tests.local.conftest import stack

__all__ = ["client", "module_database", "owner", "owner_url", "reader_url", "service", "stack"]
