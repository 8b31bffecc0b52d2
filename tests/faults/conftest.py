"""Fixtures of the loader's and the stack's tests that the fault tests use."""

import pytest

from tests.loader.conftest import harness18
from tests.local.conftest import own_stack

pytest.register_assert_rewrite("tests.faults.model.lifecycle")

__all__ = ["harness18", "own_stack"]
