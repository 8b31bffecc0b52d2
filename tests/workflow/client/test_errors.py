"""The errors of the client: one tree, drawn in its module."""

import re

import pytest

from ratesflow.local.processes import StackError
from ratesflow.workflow.cli.errors import cli_error
from ratesflow.workflow.client import errors
from ratesflow.workflow.client.errors import RatesflowError


def subclasses(of: type[RatesflowError]) -> list[type[RatesflowError]]:
    """Return all subclasses, direct or not."""
    return [one for direct in of.__subclasses__() for one in (direct, *subclasses(direct))]


def test_the_tree_is_drawn_in_the_module():
    """The docstring of the module names every error of the package, each under its base class."""
    assert StackError in subclasses(RatesflowError)
    lines = re.findall(r"^([│├└─ ]*)(\w+Error)\b", errors.__doc__ or "", re.M)
    above: dict[int, str] = {}
    drawn = {}
    for prefix, name in lines:
        depth = len(prefix) // 4
        drawn[name] = above.get(depth - 1)
        above[depth] = name
    expected = {one.__name__: one.__bases__[0].__name__ for one in subclasses(RatesflowError)}
    assert drawn == {"RatesflowError": None} | expected


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.EnvironmentMissingError("x"), 69),
        (errors.ApiUnavailableError("x"), 69),
        (errors.StillRunningError("x"), 75),
        (errors.TaskFailedError("x"), 1),
        (StackError("x"), 1),
        (FileNotFoundError("x"), 1),
        (TimeoutError("x"), 1),
    ],
)
def test_every_error_has_its_exit_code(error, code):
    """The command line exits with the code that the class of an error has; an error of the system exits with 1."""
    failure = cli_error(error)
    assert failure is not None
    assert (failure.exit_code, failure.message) == (code, "x")


def test_an_unexpected_error_keeps_its_traceback():
    """An error that is neither ours nor AWS's nor the system's is a defect, and is not turned into a message."""
    assert cli_error(ValueError("x")) is None
    assert cli_error(BrokenPipeError()) is None
