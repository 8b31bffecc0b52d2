"""The fork server of the fault tests."""

from importlib import import_module

import pytest

from tests.loader.task_process import PRELOADED


@pytest.mark.parametrize("name", PRELOADED)
def test_preloaded_modules_exist(name: str) -> None:
    """Each module that the fork server preloads can be imported; it would pass over one that cannot."""
    import_module(name)
