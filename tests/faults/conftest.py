"""The harnesses of the loader's tests and the stacks of the local ones, for what the campaigns need beside them."""

import pytest

from tests.loader.conftest import harness18
from tests.local.conftest import own_stack

pytest.register_assert_rewrite("tests.faults.model.life")

__all__ = ["harness18", "own_stack"]
