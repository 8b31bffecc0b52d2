"""What the contracts in .importlinter cannot see: imports by a name that is computed, and unknown packages."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "database", "loader", "local", "workflow")
DYNAMIC = {
    "loader/tasks/registry.py": {"import_module"},
    "local/aws/stepfunctions/interpreter.py": {"import_module"},
    "local/aws/batch/warm_start.py": {"run_module"},
}
"""The named task; moto's modules, which are patched; the task of a job that a warm process runs."""


def imported(file: Path) -> Iterator[str]:
    """Yield the modules that a file imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def dynamic_imports(file: Path) -> set[str]:
    """Return the functions that import by a computed name, which a file calls."""
    calls = (node.func for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    names = {ast.unparse(function).rpartition(".")[2] for function in calls}
    return names & {"import_module", "__import__", "run_module", "run_path", "exec_module"}


@pytest.mark.parametrize("package", PACKAGES)
def test_only_known_modules_import_by_a_computed_name(package):
    """A linter cannot see a dynamic import: only the modules that are listed here, with their reason, have one."""
    found = {file.relative_to(ROOT).as_posix(): dynamic_imports(file) for file in (ROOT / package).rglob("*.py")}
    assert found
    expected = {name: functions for name, functions in DYNAMIC.items() if name.startswith(f"{package}/")}
    assert {name: functions for name, functions in found.items() if functions} == expected


def test_lambda_needs_boto3_alone():
    """The trigger is the whole Lambda function: beside the standard library it imports boto3 and botocore."""
    names = {module.split(".")[0] for module in imported(ROOT / "workflow/trigger.py")}
    assert {name for name in names if name not in sys.stdlib_module_names} == {"boto3", "botocore"}
