"""Fixtures of the embedded stack."""

from tests.local.conftest import own_stack, stack

__all__ = ["own_stack", "stack"]
