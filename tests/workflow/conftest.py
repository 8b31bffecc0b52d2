"""The embedded stack, for tests of what an operator uses."""

from tests.local.conftest import own_stack, stack

__all__ = ["own_stack", "stack"]
