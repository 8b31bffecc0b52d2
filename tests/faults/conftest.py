"""The desks of the loader's tests and the stacks of the local ones, for what the campaigns need beside them."""

from tests.loader.conftest import desk18
from tests.local.conftest import own_stack

__all__ = ["desk18", "own_stack"]
