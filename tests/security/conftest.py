"""The stacks of the local tests and the service of the API's, for those who attack them."""

from tests.api.conftest import client, module_database, owner, owner_url, reader_url, service
from tests.local.conftest import stack

__all__ = ["client", "module_database", "owner", "owner_url", "reader_url", "service", "stack"]
