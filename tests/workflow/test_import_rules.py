"""Which package may import which: what an image or the Lambda holds follows from it."""

import ast
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
ALSO = {"workflow/cli/stack.py": {"local"}, "workflow/cli/sample.py": {"database"}}
"""`up` and `down` alone import the embedded stack; the command line alone may import the reference data."""


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from (name.split(".")[0] for name in names)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_what_they_may(package):
    """workflow, loader and api never import one another; nothing imports local but `up` and `down`."""
    for file in sorted((ROOT / package).rglob("*.py")):
        name = file.relative_to(ROOT).as_posix()
        wrong = {one for one in imported(file) if one in PACKAGES} - ALLOWED[package] - ALSO.get(name, set())
        assert not wrong, f"{name} imports {', '.join(sorted(wrong))}"


def test_lambda_needs_boto3_alone():
    """The trigger is the whole Lambda function: of what is not in Python itself it imports boto3 and its core."""
    import sys

    outside = {name for name in imported(ROOT / "workflow/trigger.py") if name not in sys.stdlib_module_names}
    assert outside == {"boto3", "botocore"}
