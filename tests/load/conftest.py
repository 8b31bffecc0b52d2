"""The stacks of the local tests."""

from tests.local.conftest import own_stack

__all__ = ["own_stack"]
