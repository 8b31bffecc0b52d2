"""Which package may import which, beyond the contracts in .importlinter: the images and the Lambda depend on it."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "database", "loader", "local", "workflow")
ALLOWED = {
    "database": {"database"},
    "loader": {"loader", "database"},
    "api": {"api", "database"},
    "workflow": {"workflow"},
    "local": set(PACKAGES),
}
EXCEPTIONS = {
    "workflow/cli/commands/stack/up.py": {"local"},
    "workflow/cli/commands/stack/down.py": {"local"},
    "workflow/cli/commands/batches/sample.py": {"database"},
    "workflow/console/__main__.py": {"local"},
}
"""Only `up`, `down` and the console's process import the embedded stack; only `sample` imports the reference data."""


def imported(file: Path) -> Iterator[str]:
    """Yield the modules that a file imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_what_they_may(package):
    """workflow, loader and api never import one another; in workflow only the exceptions import local or database."""
    seen = set()
    for file in sorted((ROOT / package).rglob("*.py")):
        name = file.relative_to(ROOT).as_posix()
        used = {module.split(".")[1] for module in imported(file) if module.startswith("ratesflow.")}
        seen |= used
        wrong = (used & set(PACKAGES)) - ALLOWED[package] - EXCEPTIONS.get(name, set())
        assert not wrong, f"{name} imports {', '.join(sorted(wrong))}"
    assert package in seen


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_exceptions_are_needed(name):
    """Each exception names an import that exists."""
    used = {module.split(".")[1] for module in imported(ROOT / name) if module.startswith("ratesflow.")}
    assert used >= EXCEPTIONS[name]


def test_lambda_needs_boto3_alone():
    """The trigger is the whole Lambda function: beside the standard library it imports boto3 and botocore."""
    names = {module.split(".")[0] for module in imported(ROOT / "workflow/trigger.py")}
    assert {name for name in names if name not in sys.stdlib_module_names} == {"boto3", "botocore"}
