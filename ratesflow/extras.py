"""Missing dependencies: the error is one sentence, with the extra of the package that installs them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec


class MissingExtraError(ImportError):
    """A dependency is not installed; the text has its name and the extra that installs it."""


@contextmanager
def requires_extra(extra: str, subject: str, *modules: str) -> Iterator[None]:
    """Raise MissingExtraError if one of the modules, or a module that this block imports, is not installed.

    `subject` is the part of the product that needs them. `modules` are those that only its child processes import.
    """
    try:
        if missing := next((module for module in modules if find_spec(module) is None), None):
            raise ModuleNotFoundError(name=missing)
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "ratesflow":
            raise
        raise MissingExtraError(
            f"{subject} needs {error.name.partition('.')[0]}, which is not installed: pip install 'ratesflow[{extra}]'"
        ) from error


@contextmanager
def exit_without_extra(extra: str, subject: str, exit_code: int = 1) -> Iterator[None]:
    """Print the sentence of MissingExtraError and exit, in place of raising it."""
    try:
        with requires_extra(extra, subject):
            yield
    except MissingExtraError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(exit_code)
